/** Token counts of an answer, in the API's shapes. */

export class UsageCounter {
  promptTokens = 0;
  completionTokens = 0;
  /** Of the completion; null where reasoning is not told apart. */
  reasoningTokens: number | null = null;
  /** Of the first prompt only, as vLLM counts. */
  cachedTokens = 0;
  /** Prompt tokens that this request put into the cache: whole blocks. */
  createdCacheTokens = 0;

  count({ ids, reasoningTokens }: { readonly ids: readonly number[]; readonly reasoningTokens: number }): void {
    this.completionTokens += ids.length;
    if (this.reasoningTokens !== null) this.reasoningTokens += reasoningTokens;
  }

  get #completionDetails(): object | null {
    return this.reasoningTokens === null ? null : { reasoning_tokens: this.reasoningTokens };
  }

  get #cache() {
    return { cached_tokens: this.cachedTokens, created_cache_tokens: this.createdCacheTokens };
  }

  /** Of the first prompt: what was found in the cache, and so what was not. */
  promptKnown(promptLen: number, cachedTokens: number, blockSize: number): void {
    this.cachedTokens = cachedTokens;
    this.createdCacheTokens = Math.max(0, promptLen - (promptLen % blockSize) - cachedTokens);
  }

  get #total(): number {
    return this.promptTokens + this.completionTokens;
  }

  /** `usage` of an answer that is not streamed. */
  whole(withDetails: boolean): object {
    return {
      prompt_tokens: this.promptTokens,
      total_tokens: this.#total,
      completion_tokens: this.completionTokens,
      prompt_tokens_details: withDetails ? { ...this.#cache, multimodal_tokens: null } : null,
      completion_tokens_details: this.#completionDetails,
    };
  }

  /** `usage` of one chunk among others, as JSON. */
  running(): string {
    return runningUsage(this.promptTokens, this.completionTokens, this.reasoningTokens);
  }

  /** `usage` of a stream's last chunk, as JSON. */
  last(withDetails: boolean): string {
    const details = withDetails ? `,"prompt_tokens_details":${JSON.stringify(this.#cache)}` : '';
    const reasoning = this.reasoningTokens === null ? '' : `,"completion_tokens_details":${JSON.stringify(this.#completionDetails)}`;
    return `{"prompt_tokens":${this.promptTokens},"total_tokens":${this.#total},"completion_tokens":${this.completionTokens}${details}${reasoning}}`;
  }
}

/** `usage` of one chunk among others (continuous_usage_stats), as JSON. */
export function runningUsage(promptTokens: number, completionTokens: number, reasoningTokens: number | null = null): string {
  const total = promptTokens + completionTokens;
  const details = reasoningTokens === null ? 'null' : `{"reasoning_tokens":${reasoningTokens}}`;
  return `{"prompt_tokens":${promptTokens},"total_tokens":${total},"completion_tokens":${completionTokens},"completion_tokens_details":${details}}`;
}
