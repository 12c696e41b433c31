/** Error -> status, headers and body, OpenAI-shaped unless the route has its own way. The kinds are the table in `errors.ts`. */
import { errorKinds, LockstepError } from '../errors.js';
import { errorAnswer } from './answers.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { Schema } from './schema.js';

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

export const openAiErrors: ErrorFormat = {
  name: 'Error',
  schema: errorAnswer,
  body: errorBody,
  lastEvents: (error, style) => `data: ${errorBody(error, style)}\n\ndata: [DONE]\n\n`,
};

/** The error as the answer: with its status where nothing was sent, as the last event of a stream that has begun. */
export function failExchange(exchange: Exchange, error: LockstepError, style: ErrorCodeStyle): void {
  if (!exchange.hasBegun && exchange.stream === null) replyError(exchange, error, style);
  else (exchange.stream ?? exchange.openStream(eventStreamType)).end(exchange.errors.lastEvents(error, style));
}

function replyError(exchange: Exchange, error: LockstepError, style: ErrorCodeStyle): void {
  if (error.retryAfterSeconds !== null) exchange.setHeader('retry-after', String(error.retryAfterSeconds));
  exchange.reply(errorKinds[error.code].status, 'application/json', exchange.errors.body(error, style));
}
