/** A rank's thread: load its shard, then one native call an engine step. The entry file of the worker that `rank-group.ts` starts. */
import { parentPort } from 'node:worker_threads';
import type { PackedUse, RankShard } from '../addon/binding.js';
import { loadAddon } from '../addon/load.js';
import type { WeightMap } from '../model/spec.js';
import { stepBuffers } from '../step/buffers.js';
import type { StepDims } from '../step/layout.js';
import { reportStep, waitForPlan } from './channel.js';

export interface RankStart {
  readonly group: number;
  readonly shard: RankShard;
  readonly weights: WeightMap;
  /** Where the packed weights may lie already. */
  readonly packed: string | null;
  readonly dims: StepDims;
  readonly shared: SharedArrayBuffer;
}

export type RankMessage =
  | { readonly kind: 'ready'; readonly weightBytes: number; readonly packed: PackedUse }
  /** `isCause` false: the rank was woken because another, or somebody else, has stopped the group. */
  | { readonly kind: 'failed'; readonly message: string; readonly isCause: boolean };

/** kAborted in native/common/status.h. */
const wasWoken = 3;
/** A rank looks at its stop word at least so often. */
const idleMs = 1000;

function run({ group, shard, weights, packed, dims, shared }: RankStart, send: (message: RankMessage) => void): void {
  const rank = loadAddon().createRank(group, shard.rank);
  const problem = rank.load(shard, weights, packed);
  if (problem !== null) {
    send({ kind: 'failed', message: problem, isCause: true });
    return;
  }
  send({ kind: 'ready', weightBytes: rank.weightBytes(), packed: rank.packedUse() });
  const { control } = stepBuffers(dims, shared);
  // Two plans may be published before the first is run, so epochs are counted here.
  for (let epoch = 0; waitForPlan(control, epoch, idleMs); ) {
    epoch = (epoch + 1) | 0;
    const status = rank.step(epoch);
    if (status !== 0) send({ kind: 'failed', message: `rank ${shard.rank}: ${rank.fault()}`, isCause: status !== wasWoken });
    reportStep(control, shard.rank, dims.worldSize, epoch, status);
    if (status !== 0) break;
  }
  rank.close();
}

parentPort?.once('message', (start: RankStart) => run(start, (message) => parentPort?.postMessage(message)));
