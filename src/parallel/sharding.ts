/** How a model is cut over ranks: pure arithmetic, for any number of ranks from 1 to 64. */
import type { RankShard } from '../addon/binding.js';
import { startError } from '../errors.js';
import type { ModelSpec } from '../model/spec.js';

/**
 * gather: every matrix is cut by rows over all ranks' threads and every rank reads all activations; no partial sums, so the result
 * does not depend on the number of ranks. reduce: attention and MLP are cut by heads and by intermediate rows, and partial sums are
 * joined by an all-reduce (Megatron-LM, Shoeybi et al. 2019).
 */
export type TensorParallelMode = RankShard['mode'];
type Range = readonly [first: number, count: number];

export const maxCpuRanks = 64;

/** Part `rank` of 0 … total-1 cut into worldSize parts whose sizes differ by at most `unit`; the first ones are the larger. */
export function cut(total: number, unit: number, rank: number, worldSize: number): Range {
  const units = Math.ceil(total / unit);
  const firstUnit = Math.floor(units / worldSize) * rank + Math.min(rank, units % worldSize);
  const numUnits = Math.floor(units / worldSize) + (rank < units % worldSize ? 1 : 0);
  const first = Math.min(firstUnit * unit, total);
  return [first, Math.min(first + numUnits * unit, total) - first];
}

/** Heads of a rank: whole KV groups while there are as many groups as ranks, else groups split by query head. */
function cutHeads(heads: number, kvHeads: number, rank: number, worldSize: number): { heads: Range; kvHeads: Range } {
  const group = heads / kvHeads;
  const own = worldSize <= kvHeads ? cut(heads, group, rank, worldSize) : cut(heads, 1, rank, worldSize);
  const [first, count] = own;
  if (count === 0) return { heads: own, kvHeads: [0, 0] };
  const firstKv = Math.floor(first / group);
  return { heads: own, kvHeads: [firstKv, Math.floor((first + count - 1) / group) - firstKv + 1] };
}

/** What `rank` owns. Every size works: a rank may end up without heads, and takes its part of the other matrices all the same. */
export function shardOf(spec: ModelSpec, mode: TensorParallelMode, rank: number, worldSize: number): RankShard {
  const { heads, kvHeads, vocab } = spec.dims;
  const intermediates = spec.layers.map((layer) => layer.mlp.experts?.intermediate ?? layer.mlp.intermediate);
  if (mode === 'gather') {
    return {
      mode,
      rank,
      worldSize,
      heads: [0, heads],
      kvHeads: [0, kvHeads],
      intermediate: intermediates.map((n) => [0, n]),
      vocab: [0, vocab],
    };
  }
  return {
    mode,
    rank,
    worldSize,
    ...cutHeads(heads, kvHeads, rank, worldSize),
    // Quantised blocks of 32 run along the columns of `down`, so cuts fall between them.
    intermediate: intermediates.map((n) => cut(n, 32, rank, worldSize)),
    vocab: cut(vocab, 32, rank, worldSize),
  };
}

export function checkWorldSize(worldSize: number): void {
  if (Number.isInteger(worldSize) && worldSize >= 1 && worldSize <= maxCpuRanks) return;
  throw startError(
    `--tensor-parallel-size must be between 1 and ${maxCpuRanks} on the CPU, not ${worldSize}: every rank is a worker thread with its own share of the weights`,
    { param: 'tensor-parallel-size' },
  );
}
