/** id <-> token, with what is known of each id; the half of a tokenizer that decodes. Every kind of tokenizer has one. */
import { ByteRun, byteOfToken, decodeUtf8, incompleteSuffixLength, type TokenDecoder, tokenBytes, Utf8Stream } from './decoder.js';
import type { AddedToken } from './definition.js';
import type { TokenTable } from './token-table.js';
import type { DecodeOptions, DecodeStream } from './tokenizer.js';

const noBytes = new Uint8Array(0);

export class Vocabulary {
  /** Highest id + 1. */
  readonly size: number;
  readonly #tokens: TokenTable;
  readonly #added = new Map<number, string>();
  /** [size] 1: special. Looked at for every token, for which a set is ten times as slow. */
  readonly #special: Uint8Array;
  readonly #decoder: TokenDecoder;
  /** Filled as ids are seen: an answer uses a few thousand of 150,000 ids. */
  readonly #bytes: (Uint8Array | undefined)[];
  readonly #texts: (string | undefined)[];
  /** Text of ids in the middle of a text; null: not whole characters. */
  readonly #wholeTexts: (string | null | undefined)[];

  constructor(tokens: TokenTable, added: readonly AddedToken[], decoder: TokenDecoder) {
    this.#tokens = tokens;
    const size = added.reduce((most, { id }) => Math.max(most, id + 1), tokens.size);
    this.size = size;
    this.#special = new Uint8Array(size);
    for (const { id, content, special } of added) {
      this.#added.set(id, content);
      if (special) this.#special[id] = 1;
    }
    this.#decoder = decoder;
    this.#bytes = new Array(size); // of full length: a list that is filled from its end would be a hash table
    this.#texts = new Array(size);
    this.#wholeTexts = new Array(size);
  }

  /** undefined: the id stands for nothing. */
  #token(id: number): string | undefined {
    return this.#added.get(id) ?? this.#tokens.text(id);
  }

  isSpecial(id: number): boolean {
    return this.#special[id] === 1;
  }

  tokenBytes(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known !== undefined) return known;
    const token = this.#token(id);
    if (token === undefined) return noBytes;
    const bytes = tokenBytes(this.#decoder, token);
    this.#bytes[id] = bytes;
    return bytes;
  }

  tokenText(id: number): string {
    const known = this.#texts[id];
    if (known !== undefined) return known;
    if (this.#token(id) === undefined) return '';
    const text = decodeUtf8(this.tokenBytes(id));
    this.#texts[id] = text;
    return text;
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions): string {
    const stream = this.decodeStream({ ...options, first: true }, true);
    let text = '';
    for (let i = 0; i < ids.length; i++) text += stream.push(ids[i]!);
    return text + stream.flush();
  }

  decodeStream(options: DecodeOptions & { readonly first: boolean }, wholeRuns = false): DecodeStream {
    const skipped = options.skipSpecialTokens ? this.#special : nothingSkipped;
    if (this.#decoder.bytes === 'utf8') return new ByteTokenStream(this, skipped);
    const strip = options.first ? this.#decoder.strip : null;
    const stream = this.#textStream(options.first, wholeRuns, skipped);
    return strip === null || strip.count === 0 ? stream : stripStart(stream, strip);
  }

  /** The text of a token that is whole characters; null: its bytes begin or continue one. */
  wholeText(id: number): string | null {
    const known = this.#wholeTexts[id];
    if (known !== undefined) return known;
    const bytes = this.tokenBytes(id);
    const text = incompleteSuffixLength(bytes) === 0 ? decodeUtf8(bytes) : null;
    this.#wholeTexts[id] = text;
    return text;
  }

  #textStream(first: boolean, wholeRuns: boolean, skipped: Uint8Array): DecodeStream {
    const run = new ByteRun(wholeRuns);
    let atStart = first;
    const push = (id: number): string => {
      if (skipped[id] === 1) return '';
      const known = atStart ? undefined : this.#wholeTexts[id];
      if (typeof known === 'string') return run.flush() + known;
      const token = this.#token(id);
      if (token === undefined) return '';
      const byte = this.#decoder.byteTokens ? byteOfToken(token) : -1;
      if (byte >= 0) {
        atStart = false;
        return run.push(byte);
      }
      const text = atStart ? this.#decoder.firstText(token) : this.#decoder.text(token);
      if (!atStart) this.#wholeTexts[id] = text;
      atStart = false;
      return run.flush() + text;
    };
    return { push, flush: () => run.flush() };
  }
}

const nothingSkipped = new Uint8Array(0);

/** Tokens that are bytes of one UTF-8 text. Most are whole characters, and their text is known from the last time. */
class ByteTokenStream implements DecodeStream {
  readonly #vocabulary: Vocabulary;
  readonly #skipped: Uint8Array;
  readonly #utf8 = new Utf8Stream();
  /** Nothing is held back: known here, so that the stream of bytes is only read where there is something. */
  #isWhole = true;

  constructor(vocabulary: Vocabulary, skipped: Uint8Array) {
    this.#vocabulary = vocabulary;
    this.#skipped = skipped;
  }

  push(id: number): string {
    if (this.#skipped[id] === 1) return '';
    const whole = this.#isWhole ? this.#vocabulary.wholeText(id) : null;
    if (whole !== null) return whole;
    const text = this.#utf8.push(this.#vocabulary.tokenBytes(id));
    this.#isWhole = this.#utf8.isEmpty;
    return text;
  }

  warm(): number {
    return this.#isWhole ? 1 : 0;
  }

  flush(): string {
    this.#isWhole = true;
    return this.#utf8.flush();
  }
}

/** Drops up to `count` of `char` from the start of the text that a stream gives. */
function stripStart(stream: DecodeStream, strip: { readonly char: string; readonly count: number }): DecodeStream {
  let left = strip.count;
  const trim = (text: string): string => {
    let at = 0;
    while (left > 0 && at < text.length) {
      if (text[at] === strip.char) {
        at++;
        left--;
      } else {
        left = 0;
      }
    }
    return text.slice(at);
  };
  return { push: (id) => trim(stream.push(id)), flush: () => trim(stream.flush()) };
}
