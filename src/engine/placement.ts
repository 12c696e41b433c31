/** How the served model lies over the ranks, and what its KV cache holds: facts of a start, for those who look. */
import type { Cut } from '../parallel/cuts.js';
import type { TensorParallelMode } from '../parallel/sharding.js';

export interface Placement {
  readonly ranks: number;
  /** What each rank is on: "cpu", "cuda:0 NVIDIA H200". */
  readonly devices: readonly string[];
  readonly mode: TensorParallelMode;
  readonly threadsPerRank: number;
  readonly cuts: readonly Cut[];
  readonly kvCacheBytes: number;
  readonly kvCacheTokens: number;
}
