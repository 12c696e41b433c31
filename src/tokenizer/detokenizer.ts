/** Ids to text, one by one, for one choice of one request: holds back incomplete characters. Stop strings are `engine/output.ts`'s. */
import type { DecodeStream, Tokenizer } from './tokenizer.js';

export interface DetokenizerOptions {
  readonly skipSpecialTokens: boolean;
  /** Special tokens that are text even so: markup of the model that somebody reads. */
  readonly keepTokens?: ReadonlySet<number>;
  /** The last ids of the prompt (a character has at most 4 bytes, so 4 are enough): a character that they began is completed, and the
   *  text goes on instead of beginning anew (SentencePiece kinds drop the space at the start of a text). */
  readonly promptTail?: Int32Array;
}

export function createDetokenizer(tokenizer: Tokenizer, { skipSpecialTokens, keepTokens, promptTail }: DetokenizerOptions): DecodeStream {
  const first = promptTail === undefined || promptTail.length === 0;
  const stream = tokenizer.decodeStream({ skipSpecialTokens, first });
  if (promptTail !== undefined) for (const id of promptTail) stream.push(id);
  return skipSpecialTokens && keepTokens !== undefined && keepTokens.size > 0 ? new KeepingStream(tokenizer, stream, keepTokens) : stream;
}

/** Of the special tokens that `stream` skips, some are text. */
class KeepingStream implements DecodeStream {
  readonly #tokenizer: Tokenizer;
  readonly #stream: DecodeStream;
  readonly #kept: ReadonlySet<number>;

  constructor(tokenizer: Tokenizer, stream: DecodeStream, kept: ReadonlySet<number>) {
    this.#tokenizer = tokenizer;
    this.#stream = stream;
    this.#kept = kept;
  }

  push(id: number): string {
    // A special token ends an incomplete character.
    if (this.#kept.has(id)) return this.#stream.flush() + this.#tokenizer.tokenText(id);
    return this.#stream.push(id);
  }

  flush(): string {
    return this.#stream.flush();
  }
}
