/** What all tokenizers do by their vocabulary alone: everything but making ids of a text. */
import type { DecodeOptions, DecodeStream, EncodeOptions, Tokenizer } from './tokenizer.js';
import type { Vocabulary } from './vocabulary.js';

export abstract class VocabularyTokenizer implements Tokenizer {
  abstract readonly bosToken: string | null;
  abstract readonly eosToken: string | null;
  abstract readonly bosTokenId: number | null;
  abstract readonly eosTokenId: number | null;
  readonly #vocabulary: Vocabulary;

  protected constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  abstract encode(text: string, options: EncodeOptions): Int32Array | Promise<Int32Array>;

  get vocabSize(): number {
    return this.#vocabulary.size;
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions): string {
    return this.#vocabulary.decode(ids, options);
  }

  decodeStream(options: DecodeOptions & { readonly first: boolean }): DecodeStream {
    return this.#vocabulary.decodeStream(options);
  }

  tokenBytes(id: number): Uint8Array {
    return this.#vocabulary.tokenBytes(id);
  }

  tokenText(id: number): string {
    return this.#vocabulary.tokenText(id);
  }

  isSpecial(id: number): boolean {
    return this.#vocabulary.isSpecial(id);
  }
}
