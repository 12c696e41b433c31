/** id <-> token, with what is known of each id; the half of a tokenizer that decodes. Every kind of tokenizer has one. */
import { ByteRun, byteOfToken, decodeUtf8, type TokenDecoder, tokenBytes, Utf8Stream } from './decoder.js';
import type { AddedToken } from './definition.js';
import type { TokenTable } from './token-table.js';
import type { DecodeOptions, DecodeStream } from './tokenizer.js';

const noBytes = new Uint8Array(0);

export class Vocabulary {
  /** Highest id + 1. */
  readonly size: number;
  readonly #tokens: TokenTable;
  readonly #added = new Map<number, string>();
  readonly #special = new Set<number>();
  readonly #decoder: TokenDecoder;
  /** Filled as ids are seen: an answer uses a few thousand of 150,000 ids. */
  readonly #bytes: (Uint8Array | undefined)[];
  readonly #texts: (string | undefined)[];

  constructor(tokens: TokenTable, added: readonly AddedToken[], decoder: TokenDecoder) {
    this.#tokens = tokens;
    let size = tokens.size;
    for (const token of added) {
      size = Math.max(size, token.id + 1);
      this.#added.set(token.id, token.content);
      if (token.special) this.#special.add(token.id);
    }
    this.size = size;
    this.#decoder = decoder;
    this.#bytes = new Array(size); // of full length: a list that is filled from its end would be a hash table
    this.#texts = new Array(size);
  }

  /** undefined: the id stands for nothing. */
  #token(id: number): string | undefined {
    return this.#added.get(id) ?? this.#tokens.text(id);
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
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
    const inner = this.#decoder.bytes === 'utf8' ? this.#utf8Stream() : this.#textStream(options.first, wholeRuns);
    const skips = (id: number) => options.skipSpecialTokens && this.#special.has(id);
    const strip = options.first ? this.#decoder.strip : null;
    const stream: DecodeStream = { push: (id) => (skips(id) ? '' : inner.push(id)), flush: inner.flush };
    return strip === null || strip.count === 0 ? stream : stripStart(stream, strip);
  }

  #utf8Stream(): DecodeStream {
    const utf8 = new Utf8Stream();
    return { push: (id) => utf8.push(this.tokenBytes(id)), flush: () => utf8.flush() };
  }

  #textStream(first: boolean, wholeRuns: boolean): DecodeStream {
    const run = new ByteRun(wholeRuns);
    let atStart = first;
    const push = (id: number): string => {
      const token = this.#token(id);
      if (token === undefined) return '';
      const byte = this.#decoder.byteTokens ? byteOfToken(token) : -1;
      const text = byte >= 0 ? run.push(byte) : run.flush() + (atStart ? this.#decoder.firstText(token) : this.#decoder.text(token));
      atStart = false;
      return text;
    };
    return { push, flush: () => run.flush() };
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
