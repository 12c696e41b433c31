/** Errors as Anthropic's clients expect them. */
import { errorKinds, type LockstepError } from '../../errors.js';
import { boundedMessage, type ErrorFormat } from '../error-body.js';
import { object, oneWord, string } from '../schema.js';
import { namedEvent } from '../sse.js';

const types: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  404: 'not_found_error',
  405: 'invalid_request_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  500: 'api_error',
  503: 'overloaded_error',
};

const body = (error: LockstepError) =>
  JSON.stringify({ type: 'error', error: { type: types[errorKinds[error.code].status] ?? 'api_error', message: boundedMessage(error) } });

const schema = object({ type: oneWord('error'), error: object({ type: string, message: string }) });

export const messagesErrors: ErrorFormat = {
  name: 'MessageError',
  schema,
  body,
  lastEvents: (error) => namedEvent('error', body(error)),
};
