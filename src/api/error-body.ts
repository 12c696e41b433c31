/** Error -> status, headers and body, OpenAI-shaped unless the route has its own way. The kinds are the table in `errors.ts`. */
import { errorKinds, LockstepError } from '../errors.js';
import { anyOf, integer, nothing, nullable, object, type Schema, string } from './schema.js';

/** `error.code`: OpenAI's string where one exists, else null; or vLLM's integer, the status. */
export type ErrorCodeStyle = 'openai' | 'vllm';

/** Messages repeat what a request holds: a reply must not become as long as its request. */
const messageLenMax = 4096;
const paramLenMax = 256;
export const boundedMessage = ({ message }: LockstepError) => bounded(message, messageLenMax);
const bounded = (text: string, lenMax: number) => (text.length <= lenMax ? text : `${text.slice(0, lenMax)}…`);

/** What becomes of an error that nobody expected: no path or stack leaves the process. */
const unexpected = new LockstepError('internal', 'Internal server error');

export function asLockstepError(error: unknown): LockstepError {
  return error instanceof LockstepError ? error : unexpected;
}

/** `{"error": {message, type, param, code}}`, as JSON. */
function errorBody(error: LockstepError, style: ErrorCodeStyle): string {
  const { status, type, code } = errorKinds[error.code];
  const message = boundedMessage(error);
  const param = error.param === null ? null : bounded(error.param, paramLenMax);
  return JSON.stringify({ error: { message, type, param, code: style === 'vllm' ? status : code } });
}

/** How an API writes an error: as the body of a reply, and as the last events of a stream that has begun. */
export interface ErrorFormat {
  /** Of the body, in /openapi.json. */
  readonly name: string;
  readonly schema: Schema;
  readonly body: (error: LockstepError, style: ErrorCodeStyle) => string;
  readonly lastEvents: (error: LockstepError, style: ErrorCodeStyle) => string;
}

const errorAnswer: Schema = object({
  error: object({ message: string, type: string, param: nullable(string), code: anyOf(string, integer, nothing) }),
});

export const openAiErrors: ErrorFormat = {
  name: 'Error',
  schema: errorAnswer,
  body: errorBody,
  lastEvents: (error, style) => `data: ${errorBody(error, style)}\n\ndata: [DONE]\n\n`,
};
