/**
 * The error table: what can go wrong with a request or at start, with its HTTP status and OpenAI `type`.
 * Only `api/error-body.ts` makes an HTTP body of it; only `cli/` makes an exit status of it.
 */
interface ErrorKind {
  readonly status: number;
  readonly type: string;
  /** OpenAI's string for `error.code`, where one exists. */
  readonly code: string | null;
}

export const errorKinds = {
  /** Malformed request: JSON, type, range, missing or unknown field. */
  invalid_body: { status: 400, type: 'Bad Request', code: null },
  /** A well-formed value that this model or server cannot serve. */
  invalid_value: { status: 400, type: 'BadRequestError', code: null },
  context_length_exceeded: { status: 400, type: 'BadRequestError', code: 'context_length_exceeded' },
  invalid_api_key: { status: 401, type: 'invalid_request_error', code: 'invalid_api_key' },
  model_not_found: { status: 404, type: 'NotFoundError', code: 'model_not_found' },
  not_found: { status: 404, type: 'NotFoundError', code: null },
  method_not_allowed: { status: 405, type: 'invalid_request_error', code: null },
  body_too_large: { status: 413, type: 'invalid_request_error', code: null },
  queue_full: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  rate_limited: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  internal: { status: 500, type: 'InternalServerError', code: null },
  not_ready: { status: 503, type: 'ServiceUnavailableError', code: null },
  /** Not an HTTP error: something given at start cannot be used. `cli/` prints one line and exits with 2. */
  start: { status: 500, type: 'InternalServerError', code: null },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

/** The one error class that crosses rooms. `param` names the request field or the flag that is at fault. */
export class LockstepError extends Error {
  override readonly name = 'LockstepError';
  readonly code: ErrorCode;
  readonly param: string | null;
  /** Seconds after which a client should try again; only with `queue_full`, `rate_limited` and `not_ready`. */
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, message: string, options: { param?: string; cause?: unknown; retryAfterSeconds?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.param = options.param ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

/** Something given at start (flag, file, model) cannot be used. One line on stderr, exit status 2. */
export function startError(message: string, options: { param?: string; cause?: unknown } = {}): LockstepError {
  // Names and parser messages come from files: a line break or control character in one must not break the line.
  return new LockstepError('start', message.replace(/[\u0000-\u001f\u007f\u2028\u2029]+/g, ' '), options);
}
