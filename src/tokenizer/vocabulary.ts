/** id <-> token, with what is known of each id; the half of a tokenizer that decodes. Every kind of tokenizer has one. */
import { ByteRun, byteOfToken, decodeUtf8, type TokenDecoder, tokenBytes, Utf8Stream } from './decoder.js';
import type { AddedToken } from './definition.js';
import type { DecodeOptions, DecodeStream } from './tokenizer.js';

const noBytes = new Uint8Array(0);

export class Vocabulary {
  /** [size]; a hole where an id stands for nothing. */
  readonly #tokens: (string | undefined)[];
  readonly #special = new Set<number>();
  readonly #decoder: TokenDecoder;
  /** Filled as ids are seen: an answer uses a few thousand of 150,000 ids. */
  readonly #bytes: (Uint8Array | undefined)[];
  readonly #texts: (string | undefined)[];

  constructor(tokens: readonly (string | undefined)[], added: readonly AddedToken[], decoder: TokenDecoder) {
    this.#tokens = tokens.slice();
    for (const token of added) {
      this.#tokens[token.id] = token.content;
      if (token.special) this.#special.add(token.id);
    }
    this.#decoder = decoder;
    this.#bytes = new Array(this.#tokens.length); // of full length: a list that is filled from its end would be a hash table
    this.#texts = new Array(this.#tokens.length);
  }

  get size(): number {
    return this.#tokens.length;
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  tokenBytes(id: number): Uint8Array {
    const token = this.#tokens[id];
    if (token === undefined) return noBytes;
    this.#bytes[id] ??= tokenBytes(this.#decoder, token);
    return this.#bytes[id];
  }

  tokenText(id: number): string {
    if (this.#tokens[id] === undefined) return '';
    this.#texts[id] ??= decodeUtf8(this.tokenBytes(id));
    return this.#texts[id];
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions): string {
    const stream = this.decodeStream({ ...options, first: true }, true);
    let text = '';
    for (let i = 0; i < ids.length; i++) text += stream.push(ids[i]!);
    return text + stream.flush();
  }

  decodeStream(options: DecodeOptions & { readonly first: boolean }, wholeRuns = false): DecodeStream {
    const inner = this.#decoder.bytes === 'utf8' ? this.#utf8Stream() : this.#textStream(options.first, wholeRuns);
    const skips = (id: number) => this.#tokens[id] === undefined || (options.skipSpecialTokens && this.#special.has(id));
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
      const token = this.#tokens[id]!;
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
