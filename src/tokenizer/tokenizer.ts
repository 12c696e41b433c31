/**
 * Text <-> ids: what the rest of the server sees of a tokenizer. The kinds (byte-level BPE, SentencePiece BPE, others) are files beside
 * this one, and `load.ts` chooses. Streaming, id by id, is in `detokenizer.ts`; chat templates are the chat room's.
 */

export interface EncodeOptions {
  /** Whether the tokenizer's own frame (bos, eos) is put around the ids. Special tokens inside the text are parsed either way. */
  readonly addSpecialTokens: boolean;
}

export interface DecodeOptions {
  readonly skipSpecialTokens: boolean;
}

/** Decodes ids that come one by one; `decode` is the same, run at once. */
export interface DecodeStream {
  /** The text that is certain after this id: incomplete characters are held back. */
  push(id: number): string;
  /** What was held back, with U+FFFD for incomplete characters. */
  flush(): string;
  /** Reads what `push` will read of it: see the engine's `RequestEvents`. */
  warm?(): number;
}

export interface EncodedPair {
  readonly ids: Int32Array;
  /** Where the second text begins. */
  readonly secondSegment: number;
}

export interface Tokenizer {
  /** Highest id + 1, added tokens included. The model's own vocabulary may be padded further. */
  readonly vocabSize: number;
  /** As text, for templates; null where the tokenizer names none. */
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** A lone surrogate counts as U+FFFD. A promise where the library behind it is asynchronous. */
  encode(text: string, options: EncodeOptions): Int32Array | Promise<Int32Array>;
  /** Two texts as one input of an encoder, in the tokenizer's frame; only where the library encodes. */
  encodePair?(text: string, pair: string): Promise<EncodedPair>;
  /** Ids outside the vocabulary give nothing. */
  decode(ids: ArrayLike<number>, options: DecodeOptions): string;
  /** `first`: whether the stream starts a text (some kinds drop one space there) or continues one. */
  decodeStream(options: DecodeOptions & { readonly first: boolean }): DecodeStream;
  /** The raw bytes that an id stands for, as in the middle of a text; empty for an unknown id. */
  tokenBytes(id: number): Uint8Array;
  /** What logprobs show: `tokenBytes` as UTF-8, U+FFFD for what is not. */
  tokenText(id: number): string;
  isSpecial(id: number): boolean;
}
