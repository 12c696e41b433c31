/**
 * BPE, both kinds that exist: over bytes (GPT-2, Llama 3, Qwen), and over characters with byte fallback (SentencePiece: Llama 2, Mistral, Gemma).
 * Added tokens are split out, the rest is normalised, cut into words, and each word merged once: a cache knows the words it has seen, which
 * pays more than any merge engine (most words of a text are repeats).
 */
import { type AddedTokenSplitter, createAddedTokenSplitter } from './added-tokens.js';
import { BpeMerger, pairTable, scoreTable } from './bpe.js';
import { byteAlphabet, toByteAlphabet } from './byte-alphabet.js';
import type { CompiledBpe } from './compiled.js';
import { createTokenDecoder } from './decoder.js';
import { type AddedToken, type BpeModel, type Component, components } from './definition.js';
import { createNormalizer, type Normalizer } from './normalizer.js';
import { createFrame, type Frame } from './post-processor.js';
import { createPreTokenizer, type PreTokenizer } from './pre-tokenizer.js';
import { TokenTable } from './token-table.js';
import type { EncodeOptions } from './tokenizer.js';
import { Vocabulary } from './vocabulary.js';
import { VocabularyTokenizer } from './vocabulary-tokenizer.js';

/** Words in the cache; it is emptied when it is full. About 5 MB. */
const cachedWordsMax = 32_768;
/** Longer words do not come back often enough to be kept. */
const cachedWordLenMax = 64;

export class BpeTokenizer extends VocabularyTokenizer {
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly #frame: Frame;
  readonly #rawSplitter: AddedTokenSplitter;
  readonly #normalize: Normalizer;
  readonly #normalizedSplitter: AddedTokenSplitter;
  readonly #preTokenize: PreTokenizer;
  readonly #words: WordEncoder;
  readonly #cache = new Map<string, Int32Array | number>();

  /** Throws `UnsupportedComponent` or `UnsupportedPattern` for what only the library knows. */
  constructor(compiled: CompiledBpe) {
    const { addedTokens, normalizer, preTokenizer, postProcessor, decoder, crossesWords, bosToken, eosToken } = compiled.parts;
    const tokens = new TokenTable(compiled.tokens);
    super(new Vocabulary(tokens, addedTokens, createTokenDecoder(decoder)));
    const byteLevel = usesByteLevel(preTokenizer);
    const cuts = createPreTokenizer(preTokenizer);
    this.#normalize = createNormalizer(normalizer);
    this.#preTokenize = byteLevel || crossesWords ? cuts : withWordCuts(cuts);
    this.#frame = createFrame(postProcessor);
    const [normalized, raw] = [addedTokens.filter((token) => token.normalized), addedTokens.filter((token) => !token.normalized)];
    this.#rawSplitter = createAddedTokenSplitter(
      raw,
      raw.map((token) => token.content),
    );
    this.#normalizedSplitter = createAddedTokenSplitter(
      normalized,
      normalized.map((token) => this.#normalize(token.content)),
    );
    this.#words = new WordEncoder(compiled, tokens, byteLevel);
    this.bosToken = bosToken;
    this.eosToken = eosToken;
    this.bosTokenId = tokenId(tokens, addedTokens, bosToken);
    this.eosTokenId = tokenId(tokens, addedTokens, eosToken);
  }

  encode(text: string, options: EncodeOptions): Int32Array {
    const out = new IdBuffer(text.length / 3);
    if (options.addSpecialTokens) out.pushAll(this.#frame.before);
    let atStart = true;
    for (const segment of this.#rawSplitter.split(text.replace(/\p{Surrogate}/gu, '\ufffd'))) {
      if (typeof segment === 'number') out.push(segment);
      else this.#encodeSegment(segment, atStart, out);
      atStart = false;
    }
    if (options.addSpecialTokens) out.pushAll(this.#frame.after);
    return out.take();
  }

  #encodeSegment(text: string, atStart: boolean, out: IdBuffer): void {
    let first = atStart;
    for (const segment of this.#normalizedSplitter.split(this.#normalize(text))) {
      if (typeof segment === 'number') out.push(segment);
      else for (const word of this.#preTokenize([segment], first)) this.#encodeWord(word, out);
      first = false;
    }
  }

  #encodeWord(word: string, out: IdBuffer): void {
    const known = this.#cache.get(word);
    if (known !== undefined) {
      if (typeof known === 'number') out.push(known);
      else out.pushAll(known);
      return;
    }
    const ids = this.#words.encode(word);
    out.pushAll(ids);
    if (word.length > cachedWordLenMax) return;
    if (this.#cache.size >= cachedWordsMax) this.#cache.clear();
    this.#cache.set(detached(word), ids.length === 1 ? ids[0]! : ids.slice());
  }
}

/** A word that is cut out of a text keeps the whole text in memory, in V8 from 13 characters on. The cache may not. */
function detached(word: string): string {
  return word.length < 13 ? word : Buffer.from(word, 'utf16le').toString('utf16le');
}

/** Whether the model's symbols are bytes, written in GPT-2's alphabet: that is what a ByteLevel pre-tokenizer makes of the text. */
function usesByteLevel(preTokenizer: Component | null): boolean {
  const steps = preTokenizer?.type === 'Sequence' ? components(preTokenizer.pretokenizers) : [preTokenizer];
  return steps.some((step) => step?.type === 'ByteLevel');
}

/**
 * SentencePiece kinds have no pre-tokenizer: a whole text is one word. But where no token has a '▁' behind another character, no merge crosses
 * that border, and the text may be cut there with the same result; then the cache works for them too.
 */
function withWordCuts(preTokenize: PreTokenizer): PreTokenizer {
  const cut = /▁*[^▁]+|▁+/g;
  return (pieces, atStart) => preTokenize(pieces, atStart).flatMap((piece) => piece.match(cut) ?? []);
}

function tokenId(tokens: TokenTable, added: readonly AddedToken[], token: string | null): number | null {
  if (token === null) return null;
  const id = added.find(({ content }) => content === token)?.id ?? tokens.find(token);
  return id < 0 ? null : id;
}

/** One word to ids, without any memory of words. */
class WordEncoder {
  readonly #model: Omit<BpeModel, 'merges' | 'scores'>;
  readonly #tokens: TokenTable;
  readonly #byteLevel: boolean;
  readonly #merger: BpeMerger;
  /** [256] id of each byte; -1: the vocabulary lacks it. */
  readonly #byteIds: Int32Array;
  readonly #unknownId: number;
  readonly #symbols = new IdBuffer(64);

  constructor({ parts, pairs, order }: CompiledBpe, tokens: TokenTable, byteLevel: boolean) {
    this.#model = parts.model;
    this.#tokens = tokens;
    this.#byteLevel = byteLevel;
    this.#unknownId = tokens.find(parts.model.unk_token ?? '');
    const nameOfByte = (byte: number) => (byteLevel ? byteAlphabet[byte]! : `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    this.#byteIds = Int32Array.from({ length: 256 }, (_, byte) => tokens.find(nameOfByte(byte)));
    this.#merger = new BpeMerger(pairs === null ? scoreTable(order!, tokens) : pairTable(pairs));
  }

  /** The ids; valid until the next call. */
  encode(word: string): Int32Array {
    const whole = this.#model.ignore_merges === true ? this.#tokens.find(this.#byteLevel ? toByteAlphabet(word) : word) : -1;
    if (whole >= 0) return Int32Array.of(whole);
    const symbols = this.#symbols;
    symbols.clear();
    if (this.#byteLevel) this.#pushBytes(word);
    else this.#pushCharacters(word);
    return symbols.view(this.#merger.run(symbols.ids, symbols.count));
  }

  /** A byte that the vocabulary lacks is the unknown token, or dropped where there is none; its neighbours may then merge, as in tokenizers. */
  #pushBytes(word: string): void {
    for (const byte of utf8.encode(word)) {
      if (this.#byteIds[byte]! >= 0) this.#symbols.push(this.#byteIds[byte]!);
      else this.#pushUnknown();
    }
  }

  #pushCharacters(word: string): void {
    for (const char of word) {
      const id = this.#tokens.find(char);
      if (id >= 0) this.#symbols.push(id);
      else if (!this.#pushByteFallback(char)) this.#pushUnknown();
    }
  }

  #pushByteFallback(char: string): boolean {
    if (this.#model.byte_fallback !== true) return false;
    const bytes = utf8.encode(char);
    if (bytes.some((byte) => this.#byteIds[byte]! < 0)) return false;
    for (const byte of bytes) this.#symbols.push(this.#byteIds[byte]!);
    return true;
  }

  #pushUnknown(): void {
    if (this.#unknownId < 0 || (this.#model.fuse_unk === true && this.#symbols.last === this.#unknownId)) return;
    this.#symbols.push(this.#unknownId);
  }
}

const utf8 = new TextEncoder();

/** A growing list of ids. */
class IdBuffer {
  ids: Int32Array;
  count = 0;

  constructor(expected: number) {
    this.ids = new Int32Array(Math.max(16, Math.ceil(expected)));
  }

  get last(): number {
    return this.count === 0 ? -1 : this.ids[this.count - 1]!;
  }

  clear(): void {
    this.count = 0;
  }

  push(id: number): void {
    if (this.count === this.ids.length) this.#grow(this.count + 1);
    this.ids[this.count++] = id;
  }

  pushAll(ids: ArrayLike<number>): void {
    if (this.count + ids.length > this.ids.length) this.#grow(this.count + ids.length);
    this.ids.set(ids, this.count);
    this.count += ids.length;
  }

  view(count: number): Int32Array {
    return this.ids.subarray(0, count);
  }

  take(): Int32Array {
    return this.ids.slice(0, this.count);
  }

  #grow(least: number): void {
    const grown = new Int32Array(Math.max(least, this.ids.length * 2));
    grown.set(this.ids.subarray(0, this.count));
    this.ids = grown;
  }
}
