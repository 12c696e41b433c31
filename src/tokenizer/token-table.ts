/**
 * A vocabulary in three arrays: text <-> id without a string or a map entry for each of 150,000 tokens. That is a tenth of the memory, and
 * arrays can be written to a file and read back in the time of a copy (`compiled.ts`).
 */

export interface TokenArrays {
  /** The texts as UTF-8, one after the other. */
  readonly texts: Uint8Array;
  /** [size] where each ends in `texts`; an id that stands for nothing has an empty one. */
  readonly ends: Int32Array;
  /** Ids by the hash of their text, open addressing; -1: free. */
  readonly slots: Int32Array;
}

const utf8 = new TextEncoder();

/** Slots for `count` keys, at most three quarters full. */
export function emptySlots(count: number): Int32Array {
  return new Int32Array(2 ** Math.ceil(Math.log2(Math.max(4, (count * 4) / 3)))).fill(-1);
}

/** Of equal texts the lowest id is found. */
export function createTokenArrays(tokens: readonly (string | undefined)[]): TokenArrays {
  const ends = new Int32Array(tokens.length);
  let texts = new Uint8Array(16 * tokens.length + 64);
  let at = 0;
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id] ?? '';
    // A UTF-16 unit takes at most three bytes.
    if (at + 3 * token.length > texts.length) texts = grown(texts, at + 3 * token.length);
    at += utf8.encodeInto(token, texts.subarray(at)).written;
    ends[id] = at;
  }
  const arrays = { texts: texts.slice(0, at), ends, slots: emptySlots(tokens.length) };
  const table = new TokenTable(arrays);
  for (let id = 0; id < tokens.length; id++) table.insert(id);
  return arrays;
}

/** As `createTokenArrays`, ready for use. */
export function tableOf(tokens: readonly (string | undefined)[]): TokenTable {
  return new TokenTable(createTokenArrays(tokens));
}

function grown(bytes: Uint8Array, least: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(least, bytes.length * 2));
  larger.set(bytes);
  return larger;
}

/** FNV-1a (Fowler, Noll, Vo) of bytes [from, to), continued from `hash`. */
function hashBytes(hash: number, bytes: Uint8Array, from: number, to: number): number {
  let h = hash;
  for (let i = from; i < to; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h;
}
const hashStart = 0x811c9dc5 | 0;

export class TokenTable {
  readonly #texts: Uint8Array;
  readonly #view: Buffer;
  readonly #ends: Int32Array;
  readonly #slots: Int32Array;
  #sought = new Uint8Array(256);

  constructor({ texts, ends, slots }: TokenArrays) {
    this.#texts = texts;
    this.#view = Buffer.from(texts.buffer, texts.byteOffset, texts.byteLength);
    this.#ends = ends;
    this.#slots = slots;
  }

  /** Highest id + 1. */
  get size(): number {
    return this.#ends.length;
  }

  /** undefined: the id stands for nothing. */
  text(id: number): string | undefined {
    if (id < 0 || id >= this.#ends.length) return undefined;
    const [start, end] = [this.#start(id), this.#ends[id]!];
    return start === end ? undefined : this.#view.toString('utf8', start, end);
  }

  /** The id of a text; -1: it is no token. */
  find(text: string): number {
    if (this.#sought.length < 3 * text.length) this.#sought = new Uint8Array(6 * text.length);
    const { written } = utf8.encodeInto(text, this.#sought);
    return this.#slots[this.#slotOf(this.#sought, 0, written, this.#sought, 0, 0)]!;
  }

  /** The id of the text of two tokens, one behind the other; -1: it is no token. */
  findJoined(left: number, right: number): number {
    const texts = this.#texts;
    return this.#slots[this.#slotOf(texts, this.#start(left), this.#ends[left]!, texts, this.#start(right), this.#ends[right]!)]!;
  }

  insert(id: number): void {
    const [start, end] = [this.#start(id), this.#ends[id]!];
    if (start === end) return;
    const slot = this.#slotOf(this.#texts, start, end, this.#texts, 0, 0);
    if (this.#slots[slot]! < 0) this.#slots[slot] = id;
  }

  #start(id: number): number {
    return id === 0 ? 0 : this.#ends[id - 1]!;
  }

  /** The slot of the text a[from … to) b[from2 … to2), or the free one where it would stand. */
  #slotOf(a: Uint8Array, from: number, to: number, b: Uint8Array, from2: number, to2: number): number {
    const mask = this.#slots.length - 1;
    const hash = hashBytes(hashBytes(hashStart, a, from, to), b, from2, to2);
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]!;
      if (id < 0) return slot;
      const start = this.#start(id);
      const middle = start + to - from;
      if (this.#ends[id]! === middle + to2 - from2 && same(this.#texts, start, a, from, to) && same(this.#texts, middle, b, from2, to2))
        return slot;
    }
  }
}

function same(texts: Uint8Array, start: number, bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (texts[start + i - from] !== bytes[i]) return false;
  return true;
}
