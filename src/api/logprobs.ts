/** Log-probabilities in the shapes of the API: chat's, completions' and prompt_logprobs. */
import type { TokenLogprobs } from '../engine/request.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

/** JSON knows no -Infinity. */
const floor = -9999;
const finite = (logprob: number) => Math.max(logprob, floor);

/** How log-probabilities name a token: by its text, or by its id with return_tokens_as_token_ids. */
const nameOf = (tokenizer: Tokenizer, id: number, asIds: boolean) => (asIds ? `token_id:${id}` : tokenizer.tokenText(id));

export interface ChatTokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
  readonly top_logprobs?: ChatTokenLogprob[];
}

function chatToken(tokenizer: Tokenizer, asIds: boolean, id: number, logprob: number): ChatTokenLogprob {
  return { token: nameOf(tokenizer, id, asIds), logprob: finite(logprob), bytes: Array.from(tokenizer.tokenBytes(id)) };
}

/** `logprobs` of a chat choice or chunk. `asIds`: return_tokens_as_token_ids. */
export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly TokenLogprobs[], asIds = false): { content: ChatTokenLogprob[] } {
  return {
    content: tokens.map(({ id, logprob, topIds, topLogprobs }) => ({
      ...chatToken(tokenizer, asIds, id, logprob),
      top_logprobs: Array.from(topIds, (topId, i) => chatToken(tokenizer, asIds, topId, topLogprobs[i]!)),
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
  readonly #asIds: boolean;
  #offset = 0; // in characters (code points) of the tokens' texts
  #lists: CompletionLogprobs = { text_offset: [], token_logprobs: [], tokens: [], top_logprobs: [] };

  /** `asIds`: return_tokens_as_token_ids. */
  constructor(tokenizer: Tokenizer, asIds: boolean) {
    this.#tokenizer = tokenizer;
    this.#asIds = asIds;
  }

  /** The prompt's first token has no log-probability. */
  pushFirst(id: number): void {
    this.#push(id, null, null);
  }

  push(tokens: readonly TokenLogprobs[]): void {
    for (const { id, logprob, topIds, topLogprobs } of tokens) {
      const top: Record<string, number> = { [this.#name(id)]: finite(logprob) };
      topIds.forEach((topId, i) => {
        top[this.#name(topId)] ??= finite(topLogprobs[i]!);
      });
      this.#push(id, finite(logprob), top);
    }
  }

  #name(id: number): string {
    return nameOf(this.#tokenizer, id, this.#asIds);
  }

  #push(id: number, logprob: number | null, top: Record<string, number> | null): void {
    const lists = this.#lists;
    lists.text_offset.push(this.#offset);
    lists.token_logprobs.push(logprob);
    lists.tokens.push(this.#name(id));
    lists.top_logprobs.push(top);
    this.#offset += codePoints(this.#tokenizer.tokenText(id));
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
