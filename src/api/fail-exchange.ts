/** An error as the end of an exchange. How it is written is the route's (`ErrorFormat`). */
import { errorKinds, type LockstepError } from '../errors.js';
import type { ErrorCodeStyle } from './error-body.js';
import { type Exchange, eventStreamType } from './exchange.js';

/** The error as the answer: with its status where nothing was sent, as the last event of a stream that has begun. */
export function failExchange(exchange: Exchange, error: LockstepError, style: ErrorCodeStyle): void {
  if (!exchange.hasBegun && exchange.stream === null) replyError(exchange, error, style);
  else (exchange.stream ?? exchange.openStream(eventStreamType)).end(exchange.errors.lastEvents(error, style));
}

function replyError(exchange: Exchange, error: LockstepError, style: ErrorCodeStyle): void {
  if (error.retryAfterSeconds !== null) exchange.setHeader('retry-after', String(error.retryAfterSeconds));
  exchange.reply(errorKinds[error.code].status, 'application/json', exchange.errors.body(error, style));
}
