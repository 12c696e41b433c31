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

export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #keepTokens: ReadonlySet<number> | null;
  readonly #stream: DecodeStream;

  constructor(tokenizer: Tokenizer, options: DetokenizerOptions) {
    const tail = options.promptTail;
    this.#tokenizer = tokenizer;
    this.#keepTokens = options.skipSpecialTokens && options.keepTokens !== undefined ? options.keepTokens : null;
    const first = tail === undefined || tail.length === 0;
    this.#stream = tokenizer.decodeStream({ skipSpecialTokens: options.skipSpecialTokens, first });
    if (tail !== undefined) for (const id of tail) this.#stream.push(id);
  }

  /** The text that this id makes certain; '' while a character is incomplete. */
  push(id: number): string {
    // A special token ends an incomplete character.
    if (this.#keepTokens?.has(id)) return this.#stream.flush() + this.#tokenizer.tokenText(id);
    return this.#stream.push(id);
  }

  /** At the end of the sequence: what is still held back, U+FFFD for an incomplete character. */
  flush(): string {
    return this.#stream.flush();
  }
}
