/** What becomes of prompts that are longer than the context. */
import { LockstepError } from '../errors.js';

/** Which tokens of a long prompt are kept: the first or the last `len`. */
export interface Truncation {
  readonly len: number;
  readonly side: 'left' | 'right';
}

export function contextError(maxModelLen: number, however: string, value: number): LockstepError {
  const message = `This model's maximum context length is ${maxModelLen} tokens. However, ${however} (parameter=input_tokens, value=${value})`;
  return new LockstepError('context_length_exceeded', message, { param: 'input_tokens' });
}

/** vLLM stops counting one token past the limit, and says so. */
export function promptTooLong(maxModelLen: number): LockstepError {
  const excess = 'which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.';
  return contextError(maxModelLen, `your prompt contains at least ${maxModelLen + 1} input tokens, ${excess}`, maxModelLen + 1);
}
