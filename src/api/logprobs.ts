/** Log-probabilities in the shapes of the API: chat's, completions' and prompt_logprobs. */
import type { TokenLogprobs } from '../engine/request.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

/** JSON knows no -Infinity. */
const floor = -9999;
const finite = (logprob: number) => Math.max(logprob, floor);

export interface ChatTokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
  readonly top_logprobs?: ChatTokenLogprob[];
}

function chatToken(tokenizer: Tokenizer, id: number, logprob: number): ChatTokenLogprob {
  return { token: tokenizer.tokenText(id), logprob: finite(logprob), bytes: Array.from(tokenizer.tokenBytes(id)) };
}

/** `logprobs` of a chat choice or chunk. */
export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly TokenLogprobs[]): { content: ChatTokenLogprob[] } {
  return {
    content: tokens.map(({ id, logprob, topIds, topLogprobs }) => ({
      ...chatToken(tokenizer, id, logprob),
      top_logprobs: Array.from(topIds, (topId, i) => chatToken(tokenizer, topId, topLogprobs[i]!)),
    })),
  };
}

/** `logprobs` of a completion: parallel lists, which grow over the chunks of a stream. */
export interface CompletionLogprobs {
  text_offset: number[];
  token_logprobs: (number | null)[];
  tokens: string[];
  top_logprobs: (Record<string, number> | null)[];
}

/** Collects completion logprobs; `take` hands out what came since the last call. */
export class CompletionLogprobsWriter {
  readonly #tokenizer: Tokenizer;
  #offset = 0; // in characters (code points) of the tokens' texts
  #lists: CompletionLogprobs = { text_offset: [], token_logprobs: [], tokens: [], top_logprobs: [] };

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The prompt's first token has no log-probability. */
  pushFirst(id: number): void {
    this.#push(this.#tokenizer.tokenText(id), null, null);
  }

  push(tokens: readonly TokenLogprobs[]): void {
    for (const { id, logprob, topIds, topLogprobs } of tokens) {
      const token = this.#tokenizer.tokenText(id);
      const top: Record<string, number> = { [token]: finite(logprob) };
      topIds.forEach((topId, i) => {
        top[this.#tokenizer.tokenText(topId)] ??= finite(topLogprobs[i]!);
      });
      this.#push(token, finite(logprob), top);
    }
  }

  #push(token: string, logprob: number | null, top: Record<string, number> | null): void {
    const lists = this.#lists;
    lists.text_offset.push(this.#offset);
    lists.token_logprobs.push(logprob);
    lists.tokens.push(token);
    lists.top_logprobs.push(top);
    this.#offset += codePoints(token);
  }

  take(): CompletionLogprobs {
    const lists = this.#lists;
    this.#lists = { text_offset: [], token_logprobs: [], tokens: [], top_logprobs: [] };
    return lists;
  }
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

interface PromptToken {
  readonly logprob: number;
  readonly rank: number;
  readonly decoded_token: string;
}

/** `prompt_logprobs`: null for the first token, then the token itself and the likeliest, by id. */
export function promptLogprobs(tokenizer: Tokenizer, tokens: readonly TokenLogprobs[]): (Record<string, PromptToken> | null)[] {
  const positions = tokens.map(({ id, logprob, rank, topIds, topLogprobs }) => {
    const entry: Record<string, PromptToken> = {};
    topIds.forEach((topId, i) => {
      entry[topId] = { logprob: finite(topLogprobs[i]!), rank: i + 1, decoded_token: tokenizer.tokenText(topId) };
    });
    entry[id] = { logprob: finite(logprob), rank, decoded_token: tokenizer.tokenText(id) };
    return entry;
  });
  return [null, ...positions];
}
