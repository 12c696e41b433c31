/**
 * Text <-> ids. This file owns what the rest of the server sees of a tokenizer; the kinds (byte-level BPE, SentencePiece BPE, others) are
 * files beside it. Streaming, id by id, is in `detokenizer.ts`; chat templates are the chat room's.
 */
import { readFile } from 'node:fs/promises';
import { LockstepError, startError } from '../errors.js';
import { readGguf } from '../model/gguf.js';
import type { TokenizerSource } from '../model/spec.js';
import { BpeTokenizer } from './bpe-tokenizer.js';
import { isBpe, UnsupportedComponent } from './definition.js';
import { parseGgufTokenizer } from './gguf.js';
import { parseTokenizerJson } from './huggingface.js';
import { LibraryTokenizer } from './library-tokenizer.js';
import { UnsupportedPattern } from './pattern.js';

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

/** Reads and builds the tokenizer of a model. Throws a `start` error that names the file and what is wrong with it. */
export async function loadTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  try {
    return source.kind === 'gguf'
      ? new BpeTokenizer(parseGgufTokenizer(readGguf(source.path)))
      : await loadTokenizerJson(source.path, source.config);
  } catch (cause) {
    if (cause instanceof LockstepError) throw cause;
    throw startError(`the tokenizer in ${source.path} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

async function loadTokenizerJson(path: string, config: Readonly<Record<string, unknown>>): Promise<Tokenizer> {
  const json = await readFile(path, 'utf8');
  const definition = parseTokenizerJson(json, config);
  if (!isBpe(definition)) return LibraryTokenizer.create(json, definition);
  try {
    return new BpeTokenizer(definition);
  } catch (cause) {
    if (!(cause instanceof UnsupportedComponent || cause instanceof UnsupportedPattern)) throw cause;
    return LibraryTokenizer.create(json, definition);
  }
}
