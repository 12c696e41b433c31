/** Which recorded cases are not compared as they are, and why. Every other case must agree. */

/** Not served yet, or on purpose otherwise: the status and error that Lockstep gives instead. */
export interface Difference {
  readonly reason: string;
  readonly expect: { readonly status: number; readonly message?: RegExp; readonly param?: string | null };
}

const refused = (param: string): Difference => ({ reason: 'refused by name until it is honoured', expect: { status: 400, param } });
const onPurpose = (reason: string, status: number, message?: RegExp): Difference => ({
  reason,
  expect: { status, ...(message === undefined ? {} : { message }) },
});

/**
 * Compared by shape. responses/stream: there two tokens are in one event, and all that follow have other numbers. Forced calls: vLLM counts
 * white space that is not in the recording, and its arguments do not fit their schema; named-short shows the markup that was begun.
 */
export const byShape: ReadonlySet<string> = new Set([
  'responses/stream',
  ...['named', 'named-stream', 'required', 'required-stream', 'required-not-parallel', 'named-short'].map((name) => `tools/${name}`),
]);

export const differences: Readonly<Record<string, Difference>> = {
  version: onPurpose('our own version', 200),
  'unknown-route': onPurpose('OpenAI-shaped error', 404, /Invalid URL/),
  'wrong-method': onPurpose('OpenAI-shaped error', 405, /Not allowed to GET/),
  'model-by-id': onPurpose("OpenAI's route", 200),
  'embeddings-not-supported': onPurpose(
    'the route is there, and says why the model does not serve it',
    400,
    /does not support Embeddings API/,
  ),
  'chat/n2-greedy': onPurpose('n equal choices, as OpenAI does', 200),
  'chat/unknown-field': onPurpose('an unknown field is refused', 400, /^Unrecognized request argument supplied: zzz$/),
  'completions/best-of': refused('best_of'),
  'chat/structured-choice': onPurpose('vLLM cut the text into other tokens than its encoding, which is replayed here', 200),
  'completions/beam': onPurpose('the replaying engine knows one continuation, not the beams', 200),
  'auth/none': onPurpose('OpenAI-shaped error', 401, /API key/),
  'auth/wrong': onPurpose('OpenAI-shaped error', 401, /API key/),
  'auth/basic-scheme': onPurpose('OpenAI-shaped error', 401, /API key/),
  'auth/chat-none': onPurpose('OpenAI-shaped error', 401, /API key/),
  'auth/tokenize-open': onPurpose('a key on every inference route', 401, /API key/),
  'auth/metrics-open': onPurpose('other metrics', 200),
  'tools/n2-required': onPurpose('a forced call that the length cuts off is a call as far as it came, and no markup in the content', 200),
};
