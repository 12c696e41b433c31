/** Error -> status, headers and OpenAI-shaped body. The only place that does; the kinds are the table in `errors.ts`. */
import { errorKinds, LockstepError } from '../errors.js';
import type { Exchange } from './exchange.js';

/** `error.code`: OpenAI's string where one exists, else null; or vLLM's integer, the status. */
export type ErrorCodeStyle = 'openai' | 'vllm';

/** What becomes of an error that nobody expected: no path or stack leaves the process. */
const unexpected = new LockstepError('internal', 'Internal server error');

export function asLockstepError(error: unknown): LockstepError {
  return error instanceof LockstepError ? error : unexpected;
}

/** `{"error": {message, type, param, code}}`, as JSON. */
export function errorBody(error: LockstepError, style: ErrorCodeStyle): string {
  const { status, type, code } = errorKinds[error.code];
  return JSON.stringify({ error: { message: error.message, type, param: error.param, code: style === 'vllm' ? status : code } });
}

export function replyError(exchange: Exchange, error: LockstepError, style: ErrorCodeStyle): void {
  if (error.retryAfterSeconds !== null) exchange.setHeader('retry-after', String(error.retryAfterSeconds));
  exchange.reply(errorKinds[error.code].status, 'application/json', errorBody(error, style));
}
