/**
 * KV blocks: who holds how many references, and which are free. Only `BlockPool` changes block counts.
 * All state is in arrays made at start; every operation on a block is O(1). What a block holds is `prefix-cache.ts`'s business.
 *
 * A reference ends in two steps. `retire` says that it will end: the sequence is finished or preempted, but a dispatched step may
 * still use the block. `release` ends it, at the step fence. Blocks whose references are all retired count as coming, so that
 * nobody is preempted for blocks that are about to be free.
 */
import type { PrefixCache } from './prefix-cache.js';

export class BlockPool {
  private readonly refs: Int32Array; // [numBlocks]
  private readonly retired: Int32Array; // [numBlocks] of those references
  // Free blocks as a ring of links around the sentinel `numBlocks`: taken at the head, evicted in the order of the list.
  private readonly next: Int32Array; // [numBlocks+1]
  private readonly previous: Int32Array; // [numBlocks+1]
  private freeCount: number;
  private comingCount = 0;

  /** `cache` null: no block is worth keeping once it is free. */
  constructor(
    readonly numBlocks: number,
    private readonly cache: PrefixCache | null,
  ) {
    this.refs = new Int32Array(numBlocks);
    this.retired = new Int32Array(numBlocks);
    this.next = Int32Array.from({ length: numBlocks + 1 }, (_, i) => (i === numBlocks ? 0 : i + 1));
    this.previous = Int32Array.from({ length: numBlocks + 1 }, (_, i) => (i === 0 ? numBlocks : i - 1));
    this.freeCount = numBlocks;
  }

  get numFree(): number {
    return this.freeCount;
  }

  /** Blocks that the next fences free. */
  get numComing(): number {
    return this.comingCount;
  }

  isFree(block: number): boolean {
    return this.refs[block] === 0;
  }

  refCount(block: number): number {
    return this.refs[block]!;
  }

  /** The block that is least worth keeping, with one reference; what it held is forgotten. There must be a free one. */
  allocate(): number {
    const block = this.next[this.numBlocks]!;
    if (this.freeCount === 0) throw new Error('no free block: the caller must look first');
    this.unlink(block);
    this.cache?.forget(block);
    this.refs[block] = 1;
    return block;
  }

  /** One more reference to a block that holds what the caller wants: in use, or still in the free list. */
  share(block: number): void {
    const refs = this.refs[block]!;
    if (refs === 0) this.unlink(block);
    else if (refs === this.retired[block]) this.comingCount--;
    this.refs[block] = refs + 1;
  }

  retire(block: number): void {
    const retired = ++this.retired[block]!;
    if (retired === this.refs[block]) this.comingCount++;
  }

  /** Ends a retired reference. */
  release(block: number): void {
    if (this.retired[block]! < 1 || this.refs[block]! < 1) throw new Error(`block ${block} has no retired reference`);
    this.retired[block]!--;
    if (--this.refs[block]! > 0) return;
    this.comingCount--;
    // Least recently used goes first, and what nobody can find again goes before all: its pages are warm and nothing is lost.
    if (this.cache?.holds(block)) this.link(block, this.previous[this.numBlocks]!, this.numBlocks);
    else this.link(block, this.numBlocks, this.next[this.numBlocks]!);
  }

  /** Free blocks in the order in which they would be taken; for tests. */
  freeBlocks(): number[] {
    const blocks: number[] = [];
    for (let b = this.next[this.numBlocks]!; b !== this.numBlocks; b = this.next[b]!) blocks.push(b);
    return blocks;
  }

  private link(block: number, before: number, after: number): void {
    this.next[before] = block;
    this.previous[block] = before;
    this.next[block] = after;
    this.previous[after] = block;
    this.freeCount++;
  }

  private unlink(block: number): void {
    const before = this.previous[block]!;
    const after = this.next[block]!;
    this.next[before] = after;
    this.previous[after] = before;
    this.freeCount--;
  }
}
