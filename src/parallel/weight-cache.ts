/**
 * Packed weights that are kept between starts: which entry of the cache is a rank's, and when one is stored.
 *
 * An entry's name is a digest of all that decides the packed bytes: the map of the weights with their formats, the parts of the spec that say
 * how matrices are put together, the rank's shard, the instruction set, the identity of every source file (path, size, times, inode and
 * samples of its bytes), and the addon's own file, which stands for the version of the layout: nobody has to remember to raise a number.
 */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { PackedUse, RankShard } from '../addon/binding.js';
import { addonPath, loadAddon } from '../addon/load.js';
import type { DiskCache } from '../cache/disk-cache.js';
import { addFileIdentity } from '../cache/file-identity.js';
import { weightBytes } from '../model/quantization/formats.js';
import type { LoadedModel } from '../model/spec.js';

/** Less is packed in the time that it takes to look for a file. */
const smallestBytes = 32 * 2 ** 20;
/**
 * Packing these is a transposition, hardly slower than reading: a second file of the same size would bring nothing. CPU time for SmolLM2 on
 * a Zen 5: bf16 96 ms packed, 80 read (269 MB); Q4_1 160 packed, 30 read (96 MB).
 */
const plainTypes: readonly string[] = ['f32', 'bf16'];

/** Paths of the ranks' entries. null: this model is not worth one. */
export function packedPaths(model: LoadedModel, shards: readonly RankShard[], cache: DiskCache): string[] | null {
  const { files, tensors } = model.weights;
  const converted = tensors.filter(({ format, source }) => !plainTypes.includes(format) || !plainTypes.includes(source.type));
  if (weightBytes({ files, tensors: converted }) < smallestBytes) return null;
  const { architecture: _name, maxPositions: _length, ropes: _ropes, logits: _logits, ...spec } = model.spec;
  const common = createHash('sha256').update(JSON.stringify([loadAddon().info().isa, spec, model.weights]));
  for (const file of [addonPath(), ...files]) addFileIdentity(common, file);
  return shards.map((shard) => cache.pathOf('weights', common.copy().update(JSON.stringify(shard)).digest('hex').slice(0, 32)));
}

/** A rank that has loaded. */
export interface LoadedRank {
  readonly weightBytes: number;
  readonly packed: PackedUse;
}

export interface Storing {
  readonly ended: Promise<void>;
  /** Nothing more is begun; what is being written ends with its group. */
  cancel(): void;
}

/** First tokens go first: writing begins so long after the ranks are ready. */
const delayMs = 1000;

/** Stores the entries that were missing, one after the other. */
export function keepPacked(
  ranks: readonly LoadedRank[],
  paths: readonly string[],
  cache: DiskCache,
  save: (rank: number, path: string) => Promise<void>,
  waitMs = delayMs,
): Storing {
  const missing: number[] = [];
  for (const [rank, { packed }] of ranks.entries()) {
    if (packed.problem !== null) cache.damaged(paths[rank]!, packed.problem);
    if (packed.used) cache.used(paths[rank]!);
    else missing.push(rank);
  }
  if (missing.length === 0) return { ended: Promise.resolve(), cancel() {} };
  const timer = new AbortController();
  const run = async () => {
    if (!(await delay(waitMs, true, { signal: timer.signal }).catch(() => false))) return;
    for (const rank of missing) {
      if (timer.signal.aborted) return;
      await cache.store(paths[rank]!, ranks[rank]!.weightBytes, (temporary) => save(rank, temporary));
    }
  };
  return { ended: run(), cancel: () => timer.abort() };
}
