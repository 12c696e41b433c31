/**
 * Ids to text: the decoders of tokenizer.json, made incremental. Each token is either text or raw bytes; bytes of incomplete characters are
 * held back. `decode` runs the same stream to its end.
 */
import { fromByteAlphabet } from './byte-alphabet.js';
import { type Component, components, type PatternDefinition, UnsupportedComponent } from './definition.js';
import { createReplacer } from './normalizer.js';

export interface TokenDecoder {
  /** `utf8`: every token is bytes of one UTF-8 text. `fallback`: tokens are text, but for single bytes of characters outside the vocabulary. */
  readonly bytes: 'utf8' | 'fallback';
  /** The token's text in the middle of a text (`fallback`). */
  text(token: string): string;
  /** The same where the token is the text's first. */
  firstText(token: string): string;
  /** Up to so many of this character are dropped at the start of a text (SentencePiece's leading space). */
  readonly strip: { readonly char: string; readonly count: number };
  /** Whether `<0x0A>` and the like are bytes. */
  readonly byteTokens: boolean;
}

const noStrip = { char: ' ', count: 0 };

export function createTokenDecoder(definition: Component | null): TokenDecoder {
  if (definition?.type === 'ByteLevel' || (definition?.type === 'Sequence' && components(definition.decoders)[0]?.type === 'ByteLevel')) {
    const same = (token: string) => token;
    return { bytes: 'utf8', text: same, firstText: same, strip: noStrip, byteTokens: false };
  }
  if (definition === null) {
    // Without a decoder tokenizers joins tokens with spaces.
    return { bytes: 'fallback', text: (token) => ` ${token}`, firstText: (token) => token, strip: noStrip, byteTokens: false };
  }
  let decoder: TokenDecoder = { bytes: 'fallback', text: (token) => token, firstText: (token) => token, strip: noStrip, byteTokens: false };
  for (const step of definition.type === 'Sequence' ? components(definition.decoders) : [definition]) decoder = addStep(decoder, step);
  return decoder;
}

function addStep(decoder: TokenDecoder, step: Component): TokenDecoder {
  const then = (map: (text: string) => string, mapFirst = map): TokenDecoder => ({
    ...decoder,
    text: (token) => map(decoder.text(token)),
    firstText: (token) => mapFirst(decoder.firstText(token)),
  });
  switch (step.type) {
    case 'Fuse':
      return decoder;
    case 'ByteFallback':
      return { ...decoder, byteTokens: true };
    case 'Replace':
      return then(createReplacer(step.pattern as PatternDefinition, String(step.content)));
    case 'Strip':
      if (step.stop !== 0) throw new UnsupportedComponent('decoder Strip at the end of a text');
      return { ...decoder, strip: { char: String(step.content), count: Number(step.start) } };
    case 'Metaspace': {
      const mark = String(step.replacement ?? '▁');
      const strips = (step.prepend_scheme ?? (step.add_prefix_space === false ? 'never' : 'always')) !== 'never';
      return { ...then((text) => text.replaceAll(mark, ' ')), strip: strips ? { char: ' ', count: 1 } : decoder.strip };
    }
    case 'WordPiece': {
      const [prefix, cleanup] = [String(step.prefix), step.cleanup === false ? (text: string) => text : cleanUp];
      return then((text) => cleanup(text.startsWith(prefix) ? text.slice(prefix.length) : ` ${text}`), cleanup);
    }
    default:
      throw new UnsupportedComponent(`decoder ${step.type}`);
  }
}

/** What the WordPiece decoder mends of its own spaces. */
function cleanUp(text: string): string {
  return text
    .replaceAll(/ ([.?!,])/g, '$1')
    .replaceAll(" ' ", "'")
    .replaceAll(/ (n't|'m|'s|'ve|'re)/g, '$1')
    .replaceAll(' do not', " don't");
}

/** The raw byte of a `<0x0A>` token; -1: it is text. */
export function byteOfToken(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Invalid bytes become U+FFFD, one for each maximal part of a character (WHATWG's and Rust's rule). */
export function decodeUtf8(bytes: Uint8Array): string {
  return utf8Decoder.decode(bytes);
}

export function tokenBytes(decoder: TokenDecoder, token: string): Uint8Array {
  if (decoder.bytes === 'utf8') return fromByteAlphabet(token);
  const byte = decoder.byteTokens ? byteOfToken(token) : -1;
  return byte < 0 ? utf8Encoder.encode(decoder.text(token)) : Uint8Array.of(byte);
}

/** How many bytes at the end begin a character that further bytes could complete (0 to 3); Unicode 15, table 3-7. */
export function incompleteSuffixLength(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const lead = bytes[bytes.length - back]!;
    if ((lead & 0xc0) === 0x80) continue;
    const length = lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    if (length <= back) return 0;
    return back === 1 || validSecond(lead, bytes[bytes.length - back + 1]!) ? back : 0;
  }
  return 0;
}

function validSecond(lead: number, second: number): boolean {
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

const none = new Uint8Array(0);

/** Bytes in, certain text out. Bytes of a character that may still be completed are held back. */
export class Utf8Stream {
  #held: Uint8Array = none;

  /** Nothing is held back. */
  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  push(bytes: Uint8Array): string {
    const all = this.#held.length === 0 ? bytes : concat(this.#held, bytes);
    const held = incompleteSuffixLength(all);
    this.#held = held === 0 ? none : all.slice(all.length - held);
    return held === all.length ? '' : decodeUtf8(all.subarray(0, all.length - held));
  }

  flush(): string {
    const text = decodeUtf8(this.#held);
    this.#held = none;
    return text;
  }
}

/**
 * Runs of single-byte tokens, as the ByteFallback decoder reads them: each byte outside a character is one U+FFFD. That decoder gives up a whole
 * run for one bad byte; with `wholeRuns` so does this (a text that is known at its end), without it characters go out as they are complete.
 */
export class ByteRun {
  readonly #wholeRuns: boolean;
  #held: number[] = [];

  constructor(wholeRuns: boolean) {
    this.#wholeRuns = wholeRuns;
  }

  push(byte: number): string {
    this.#held.push(byte);
    if (this.#wholeRuns) return '';
    const bytes = Uint8Array.from(this.#held);
    if (incompleteSuffixLength(bytes) === bytes.length) return '';
    this.#held = [];
    const text = decodeUtf8(bytes);
    if (isValidUtf8(bytes, text)) return text;
    // The last byte did not continue the character: it may begin one.
    return bytes.length === 1 ? text : '\ufffd'.repeat(bytes.length - 1) + this.push(byte);
  }

  flush(): string {
    if (this.#held.length === 0) return '';
    const bytes = Uint8Array.from(this.#held);
    this.#held = [];
    const text = decodeUtf8(bytes);
    return isValidUtf8(bytes, text) ? text : '\ufffd'.repeat(bytes.length);
  }
}

function isValidUtf8(bytes: Uint8Array, decoded: string): boolean {
  return !decoded.includes('\ufffd') || Buffer.from(decoded).equals(bytes);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
