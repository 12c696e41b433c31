/**
 * Byte-pair merging over ids: of all neighbours that may be joined, the pair of the lowest order is, the leftmost of equals, until none is left
 * (Sennrich et al. 2016; the order is the list of merges, or SentencePiece's scores). What the symbols are is the caller's business.
 *
 * A heap makes it O(n log n), so that 100 KB of one character take tens of milliseconds. tiktoken, beside which `tiktoken.test.ts` holds this, lost
 * its place at run time: quadratic in a word, as fast on words not seen before, and building it took 100 to 250 ms of a start and 20 to 60 MB.
 */
import { emptySlots, type TokenTable } from './token-table.js';

/** Which pairs may be joined. */
export interface MergeTable {
  /** Index of the merge of two ids; -1: they may not be joined. */
  find(left: number, right: number): number;
  /** [merges] lower first. */
  readonly order: Int32Array;
  /** [merges] the id that the merge gives. */
  readonly result: Int32Array;
}

/** The merge list of tokenizer.json, in its order. */
export interface PairArrays {
  /** [merges] the ids that are joined, and what they give. */
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly result: Int32Array;
  /** Merges by the hash of their pair, open addressing; -1: free. */
  readonly slots: Int32Array;
}

/** Of merges of the same pair the last one is found, as in the tokenizers package. */
export function createPairArrays(
  merges: readonly (string | readonly [string, string])[],
  vocab: ReadonlyMap<string, number>,
  tokens: readonly (string | undefined)[],
): PairArrays {
  const count = merges.length;
  const left = new Int32Array(count);
  const right = new Int32Array(count);
  const result = new Int32Array(count);
  const slots = emptySlots(count);
  const pairs = { left, right, result, slots };
  let joined = -1;
  for (let i = 0; i < count; i++) {
    const merge = merges[i]!;
    const space = typeof merge === 'string' ? merge.indexOf(' ') : -1;
    const first = typeof merge === 'string' ? merge.slice(0, space) : merge[0];
    const second = typeof merge === 'string' ? merge.slice(space + 1) : merge[1];
    left[i] = vocab.get(first) ?? missing(first, i);
    right[i] = vocab.get(second) ?? missing(second, i);
    // Nearly always ids follow the order of merges; looking there first saves making and hashing the joined string (30 of 57 ms for 49,000).
    joined = isJoined(tokens[joined + 1], first, second) ? joined + 1 : (vocab.get(first + second) ?? missing(first + second, i));
    result[i] = joined;
    slots[slotOfPair(pairs, left[i]!, right[i]!)] = i;
  }
  return pairs;
}

function slotOfPair({ left, right, slots }: PairArrays, a: number, b: number): number {
  const mask = slots.length - 1;
  for (let slot = hashPair(a, b) & mask; ; slot = (slot + 1) & mask) {
    const index = slots[slot]!;
    if (index < 0 || (left[index] === a && right[index] === b)) return slot;
  }
}

export function pairTable(pairs: PairArrays): MergeTable {
  const order = new Int32Array(pairs.result.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  return { find: (a, b) => pairs.slots[slotOfPair(pairs, a, b)]!, order, result: pairs.result };
}

function isJoined(token: string | undefined, first: string, second: string): boolean {
  return token !== undefined && token.length === first.length + second.length && token.startsWith(first) && token.endsWith(second);
}

function missing(token: string, merge: number): never {
  throw new Error(`its merge ${merge} needs the token ${JSON.stringify(token)}, which the vocabulary lacks`);
}

function hashPair(a: number, b: number): number {
  const h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  return h ^ (h >>> 15);
}

/** [tokens] the place of each token's score among all, the highest first. */
export function scoreOrder(tokens: readonly (string | undefined)[], scores: ArrayLike<number>): Int32Array {
  const distinct = [...new Set(Array.from(scores))].sort((a, b) => b - a);
  const rank = new Map(distinct.map((score, i) => [score, i]));
  return Int32Array.from(tokens, (_, id) => rank.get(scores[id]!) ?? distinct.length);
}

/** SentencePiece's rule, for vocabularies that come with scores instead of merges: two tokens may be joined where their text is a token, the
 *  highest score first. */
export function scoreTable(order: Int32Array, tokens: TokenTable): MergeTable {
  return { find: (left, right) => tokens.findJoined(left, right), order, result: Int32Array.from(order.keys()) };
}

/** Merges in place. One object serves one thread: its buffers grow to the longest word seen and are kept. */
export class BpeMerger {
  readonly #table: MergeTable;
  #previous = new Int32Array(64);
  #next = new Int32Array(64);
  /** The merge of each symbol with its right neighbour; -1: none. */
  #merge = new Int32Array(64);
  readonly #heap = new NumberHeap();

  constructor(table: MergeTable) {
    this.#table = table;
  }

  /** Merges symbols[0 … count) in place and returns how many are left. */
  run(symbols: Int32Array, count: number): number {
    if (count < 2) return count;
    const { result } = this.#table;
    this.#reserve(count);
    const [previous, next, merge, heap] = [this.#previous, this.#next, this.#merge, this.#heap];
    for (let i = 0; i < count; i++) {
      previous[i] = i - 1;
      next[i] = i + 1 < count ? i + 1 : -1;
    }
    for (let i = 0; i < count; i++) this.#offer(symbols, i);
    for (;;) {
      const key = heap.pop();
      if (key < 0) break;
      const order = Math.floor(key / positionLimit);
      const at = key - order * positionLimit; // `%` on doubles is a call
      // A key is out of date when its symbol was swallowed or has another neighbour by now.
      if (merge[at]! < 0 || this.#table.order[merge[at]!] !== order) continue;
      const right = next[at]!;
      symbols[at] = result[merge[at]!]!;
      next[at] = next[right]!;
      if (next[right]! >= 0) previous[next[right]!] = at;
      merge[right] = -1;
      this.#offer(symbols, at);
      if (previous[at]! >= 0) this.#offer(symbols, previous[at]!);
    }
    let left = 0;
    for (let i = 0; i >= 0; i = next[i]!) symbols[left++] = symbols[i]!;
    return left;
  }

  #offer(symbols: Int32Array, at: number): void {
    const right = this.#next[at]!;
    const found = right < 0 ? -1 : this.#table.find(symbols[at]!, symbols[right]!);
    this.#merge[at] = found;
    if (found >= 0) this.#heap.push(this.#table.order[found]! * positionLimit + at);
  }

  #reserve(count: number): void {
    if (this.#next.length >= count) return;
    this.#previous = new Int32Array(count);
    this.#next = new Int32Array(count);
    this.#merge = new Int32Array(count);
  }
}

/** Heap keys are order * positionLimit + position: exact in a double for orders below 2^22. */
const positionLimit = 2 ** 31;

/** A binary min-heap of non-negative numbers. */
class NumberHeap {
  #keys = new Float64Array(256);
  #size = 0;

  push(key: number): void {
    if (this.#size === this.#keys.length) {
      const grown = new Float64Array(this.#size * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    const keys = this.#keys;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[at] = keys[parent]!;
      at = parent;
    }
    keys[at] = key;
  }

  /** The smallest key, or -1. */
  pop(): number {
    if (this.#size === 0) return -1;
    const keys = this.#keys;
    const top = keys[0]!;
    const last = keys[--this.#size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= last) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = last;
    return top;
  }
}
