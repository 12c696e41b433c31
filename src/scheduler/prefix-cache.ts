/**
 * Which block holds which full block of which prefix. A chained hash finds the candidates, and the stored ids decide, so that a
 * collision costs a comparison and never an answer.
 *
 * Each registered block gets a name, a number that is never used again. A block is found by the name of the prefix before it and
 * its own ids, so by induction a name stands for exactly one prefix. (Chaining the parent's 64-bit hash instead, as vLLM does
 * with SHA-256, cannot be verified without comparing the whole prefix.) The first block of a prefix is found by its cache salt.
 * A block whose parent was evicted before it cannot be found any more; tails are freed first, so that this is rare.
 */

/** The name of the empty prefix. */
export const emptyPrefix = 0;
const notRegistered = 0;
const none = -1;

export class PrefixCache {
  private readonly ids: Int32Array; // [numBlocks, blockSize]
  private readonly names: Float64Array; // [numBlocks] name of the prefix that ends with this block; 0: not registered
  private readonly parents: Float64Array; // [numBlocks] name of the prefix before it
  private readonly salts: (string | null)[]; // [numBlocks] of blocks with the empty prefix before them
  private readonly hashes: Int32Array; // [numBlocks]
  private readonly chain: Int32Array; // [numBlocks] next block of the same bucket
  private readonly buckets: Int32Array; // [power of two >= 2 numBlocks] first block of each bucket
  private lastName = 0;

  constructor(
    numBlocks: number,
    private readonly blockSize: number,
  ) {
    this.ids = new Int32Array(numBlocks * blockSize);
    this.names = new Float64Array(numBlocks);
    this.parents = new Float64Array(numBlocks);
    this.salts = new Array<string | null>(numBlocks).fill(null);
    this.hashes = new Int32Array(numBlocks);
    this.chain = new Int32Array(numBlocks);
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(2 * Math.max(numBlocks, 8)))).fill(none);
  }

  holds(block: number): boolean {
    return this.names[block] !== notRegistered;
  }

  /** The name of the prefix that ends with `block`. */
  nameOf(block: number): number {
    return this.names[block]!;
  }

  /** The block that holds tokens[start … start+blockSize) after the prefix `parent`; -1: none. */
  find(parent: number, salt: string | null, tokens: Int32Array, start: number): number {
    return this.search(this.hash(parent, salt, tokens, start), parent, salt, tokens, start);
  }

  /** Makes `block`, which is not registered, known as holder of tokens[start … start+blockSize) after `parent`. Returns its name. */
  register(block: number, parent: number, salt: string | null, tokens: Int32Array, start: number): number {
    const name = ++this.lastName;
    this.enter(block, name, this.hash(parent, salt, tokens, start), parent, salt);
    const at = block * this.blockSize;
    for (let i = 0; i < this.blockSize; i++) this.ids[at + i] = tokens[start + i]!;
    return name;
  }

  /** `to`, which is not registered and holds the same as `from`, takes over its name. */
  move(from: number, to: number): void {
    const [name, hash, parent, salt] = [this.names[from]!, this.hashes[from]!, this.parents[from]!, this.salts[from]!];
    this.ids.copyWithin(to * this.blockSize, from * this.blockSize, (from + 1) * this.blockSize);
    this.forget(from);
    this.enter(to, name, hash, parent, salt);
  }

  /** The block is about to hold something else. */
  forget(block: number): void {
    if (this.names[block] === notRegistered) return;
    this.names[block] = notRegistered;
    this.salts[block] = null;
    const bucket = this.hashes[block]! & (this.buckets.length - 1);
    if (this.buckets[bucket] === block) {
      this.buckets[bucket] = this.chain[block]!;
      return;
    }
    let before = this.buckets[bucket]!;
    while (this.chain[before] !== block) before = this.chain[before]!;
    this.chain[before] = this.chain[block]!;
  }

  /** All blocks are about to hold something else. */
  clear(): void {
    this.names.fill(notRegistered);
    this.salts.fill(null);
    this.buckets.fill(none);
  }

  private enter(block: number, name: number, hash: number, parent: number, salt: string | null): void {
    const bucket = hash & (this.buckets.length - 1);
    this.names[block] = name;
    this.parents[block] = parent;
    this.salts[block] = parent === emptyPrefix ? salt : null;
    this.hashes[block] = hash;
    this.chain[block] = this.buckets[bucket]!;
    this.buckets[bucket] = block;
  }

  private search(hash: number, parent: number, salt: string | null, tokens: Int32Array, start: number): number {
    let block = this.buckets[hash & (this.buckets.length - 1)]!;
    while (block !== none && !this.matches(block, hash, parent, salt, tokens, start)) block = this.chain[block]!;
    return block;
  }

  private matches(block: number, hash: number, parent: number, salt: string | null, tokens: Int32Array, start: number): boolean {
    if (this.hashes[block] !== hash || this.parents[block] !== parent) return false;
    if (parent === emptyPrefix && this.salts[block] !== salt) return false;
    const at = block * this.blockSize;
    for (let i = 0; i < this.blockSize; i++) {
      if (this.ids[at + i] !== tokens[start + i]) return false;
    }
    return true;
  }

  /** 32 bits, in the manner of MurmurHash3 (Appleby, public domain): about 1 ns a token. */
  private hash(parent: number, salt: string | null, tokens: Int32Array, start: number): number {
    let h = mix(mix(0x9747b28c, parent | 0), (parent / 2 ** 32) | 0);
    if (parent === emptyPrefix && salt !== null) {
      for (let i = 0; i < salt.length; i++) h = mix(h, salt.charCodeAt(i));
    }
    for (let i = 0; i < this.blockSize; i++) h = mix(h, tokens[start + i]!);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  }
}

function mix(h: number, word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  const mixed = h ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
