/**
 * The blocks of sequences: block pool and prefix cache brought together, and the block table of a sequence's row.
 * Decides nothing: `scheduler.ts` asks what would fit, and says what is to be done.
 */
import type { StepDims } from '../step/layout.js';
import { BlockPool } from './block-pool.js';
import { emptyPrefix, PrefixCache } from './prefix-cache.js';
import type { Sequence } from './sequence.js';

export class KvCache {
  readonly pool: BlockPool;
  private readonly prefixes: PrefixCache | null;
  private readonly blockSize: number;
  private readonly maxBlocksPerRow: number;
  private readonly matched: Int32Array; // [maxBlocksPerRow] cached blocks of the sequence that was matched last
  private numMatched = 0;
  private numRegistered = 0;
  private numReleased = 0; // sequences

  /** `blockTables`: [rows, maxBlocksPerRow], shared with the ranks; only grows while a sequence has the row. */
  constructor(
    private readonly blockTables: Int32Array,
    dims: StepDims,
    enablePrefixCaching: boolean,
  ) {
    this.blockSize = dims.blockSize;
    this.maxBlocksPerRow = Math.ceil(dims.maxSeqLen / dims.blockSize);
    this.prefixes = enablePrefixCaching ? new PrefixCache(dims.numBlocks, dims.blockSize) : null;
    this.pool = new BlockPool(dims.numBlocks, this.prefixes);
    this.matched = new Int32Array(this.maxBlocksPerRow);
  }

  /** While it stays the same, a sequence that did not fit does not fit. */
  get version(): number {
    return this.numReleased + this.numRegistered;
  }

  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  /** Looks up the longest cached prefix of a sequence without blocks; returns its tokens. The last token is always computed. */
  match(seq: Sequence): number {
    this.numMatched = 0;
    if (this.prefixes === null || seq.wantsEveryToken) return 0;
    const bound = Math.floor((seq.numTokens - 1) / this.blockSize);
    let prefix = emptyPrefix;
    while (this.numMatched < bound) {
      const block = this.prefixes.find(prefix, seq.input.cacheSalt, seq.tokens, this.numMatched * this.blockSize);
      if (block < 0) break;
      prefix = this.prefixes.nameOf(block);
      this.matched[this.numMatched++] = block;
    }
    return this.numMatched * this.blockSize;
  }

  /** Whether all tokens of the sequence that was matched last fit, with `spare` blocks left free. */
  fits(seq: Sequence, spare: number): boolean {
    let taken = this.blocksFor(seq.numTokens) - this.numMatched;
    for (let i = 0; i < this.numMatched; i++) {
      if (this.pool.isFree(this.matched[i]!)) taken++;
    }
    return taken + spare <= this.pool.numFree;
  }

  /** Gives the sequence that was matched last, and that fits, its blocks: what is cached, and room for the rest of its tokens. */
  admit(seq: Sequence): void {
    const base = seq.row * this.maxBlocksPerRow;
    const numMatched = this.numMatched;
    for (let i = 0; i < numMatched; i++) {
      // Shared before anything is allocated, so that none of them is evicted for the rest.
      this.pool.share(this.matched[i]!);
      this.blockTables[base + i] = this.matched[i]!;
    }
    seq.numBlocks = numMatched;
    seq.numScheduled = numMatched * this.blockSize;
    seq.numProcessed = seq.numScheduled;
    seq.numHashed = numMatched;
    seq.prefix = numMatched > 0 ? this.prefixes!.nameOf(this.matched[numMatched - 1]!) : emptyPrefix;
    this.grow(seq, this.blocksFor(seq.numTokens) - numMatched);
  }

  /** Appends `count` blocks to the sequence's table; they must be free. */
  grow(seq: Sequence, count: number): void {
    const base = seq.row * this.maxBlocksPerRow;
    for (let i = 0; i < count; i++) this.blockTables[base + seq.numBlocks++] = this.pool.allocate();
  }

  /**
   * Makes the sequence's full blocks known to the prefix cache: all those whose ids are known and whose K and V a dispatched step
   * writes. Called at schedule time, so that equal prompts share within a step: a layer appends K and V of all blocks
   * that the step fills before it attends.
   */
  register(seq: Sequence): void {
    if (this.prefixes === null) return;
    const known = Math.min(seq.numScheduled, seq.numTokens, seq.cacheLen);
    while ((seq.numHashed + 1) * this.blockSize <= known) {
      const block = this.blockTables[seq.row * this.maxBlocksPerRow + seq.numHashed]!;
      seq.prefix = this.nameOf(block, seq, seq.numHashed * this.blockSize);
      seq.numHashed++;
    }
  }

  /** The sequence's blocks will be given back at the fence of its last step. */
  retire(seq: Sequence): void {
    const base = seq.row * this.maxBlocksPerRow;
    for (let i = 0; i < seq.numBlocks; i++) this.pool.retire(this.blockTables[base + i]!);
  }

  /** Gives retired blocks back, tail first: a tail is of no use without what comes before it, so it is evicted first. */
  release(seq: Sequence): void {
    const base = seq.row * this.maxBlocksPerRow;
    for (let i = seq.numBlocks - 1; i >= 0; i--) this.pool.release(this.blockTables[base + i]!);
    seq.numBlocks = 0;
    this.numReleased++;
  }

  /** No block is found any more. Those in use stay with their sequences. */
  forgetPrefixes(): void {
    this.prefixes?.clear();
  }

  /** Of equal blocks one is known. It is the one in use, where the other is not: that one will stay longer. */
  private nameOf(block: number, seq: Sequence, start: number): number {
    const prefixes = this.prefixes!;
    const salt = seq.input.cacheSalt;
    const other = prefixes.find(seq.prefix, salt, seq.tokens, start);
    if (other < 0) {
      this.numRegistered++;
      return prefixes.register(block, seq.prefix, salt, seq.tokens, start);
    }
    if (!this.pool.isFree(other)) return prefixes.nameOf(other);
    prefixes.move(other, block);
    return prefixes.nameOf(block);
  }
}
