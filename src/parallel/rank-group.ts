/**
 * The ranks of one model: starts a worker thread for each, watches them, stops them. Lives on the thread that owns the process; the
 * engine thread drives steps over the same buffers with `StepDriver`.
 */
import { Worker } from 'node:worker_threads';
import { loadAddon } from '../addon/load.js';
import type { DiskCache } from '../cache/disk-cache.js';
import { LockstepError, startError } from '../errors.js';
import type { KvCacheType, LoadedModel } from '../model/spec.js';
import { type StepBuffers, type StepResult, stepBuffers } from '../step/buffers.js';
import type { StepDims } from '../step/layout.js';
import { allFinished, hasFault, publish, raiseAbort, stopRanks } from './channel.js';
import type { RankMessage, RankStart } from './rank-worker.js';
import { shardOf, type TensorParallelMode } from './sharding.js';
import { keepPacked, type LoadedRank, packedPaths, type Storing } from './weight-cache.js';

export interface RankGroupOptions {
  readonly dims: StepDims;
  readonly mode: TensorParallelMode;
  readonly threadsPerRank: number;
  /** null or absent: the type that the model is computed in. */
  readonly kvCacheType?: KvCacheType | null;
  /** A rank that hears nothing of the others for so long within a step gives up, and the step fails on all. */
  readonly stepTimeoutMs: number;
  /** Keeps packed weights between starts; null: nothing does. */
  readonly cache: DiskCache | null;
}

export class RankGroup {
  readonly buffers: StepBuffers;
  /** Resolves with the bytes of packed weights of all ranks; rejects with what kept a rank from loading. */
  readonly ready: Promise<number>;
  /** Handle of the native group. */
  readonly group: number;
  readonly #workers: readonly Worker[];
  #storing: Storing | null = null;
  #stopping = false;
  #fault: string | null = null;
  #onFault: ((reason: string) => void) | null = null;

  constructor(model: LoadedModel, options: RankGroupOptions) {
    const { dims, mode, threadsPerRank, stepTimeoutMs, cache } = options;
    const { spec, weights } = model;
    const kvCacheType = options.kvCacheType ?? model.computeType;
    this.buffers = stepBuffers(dims);
    const offsets = Float64Array.from(this.buffers.layout.placements, (p) => p.byteOffset);
    const group = { dims, mode, spec, kvCacheType, threadsPerRank, stepTimeoutMs };
    this.group = loadAddon().createGroup(group, new Uint8Array(this.buffers.shared), offsets);
    const entry = new URL('./rank-worker.js', import.meta.url);
    const shards = Array.from({ length: dims.worldSize }, (_, rank) => shardOf(spec, mode, rank, dims.worldSize));
    const paths = cache && packedPaths(model, shards, cache);
    this.#workers = shards.map((shard, rank) => {
      const start: RankStart = { group: this.group, shard, weights, packed: paths?.[rank] ?? null, dims, shared: this.buffers.shared };
      return new Worker(entry, { workerData: start, name: `rank-${rank}` });
    });
    this.ready = Promise.all(this.#workers.map((worker, rank) => this.#watch(worker, rank))).then((loaded) => {
      if (cache && paths) this.#storing = keepPacked(loaded, paths, cache, (rank, path) => loadAddon().saveWeights(this.group, rank, path));
      return loaded.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    });
  }

  /** `listener` is called once when a rank can no longer step; a fault is not mended. */
  onFault(listener: (reason: string) => void): void {
    this.#onFault = listener;
    if (this.#fault !== null) listener(this.#fault);
  }

  /** Ends the threads. A step that runs is given up. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#storing?.cancel();
    const addon = loadAddon();
    const gone = this.#workers.map((worker) => (worker.threadId === -1 ? null : new Promise((resolve) => worker.once('exit', resolve))));
    stopRanks(this.buffers.control);
    addon.abortGroup(this.group);
    await Promise.all(gone);
    addon.destroyGroup(this.group);
    await this.#storing?.ended;
  }

  #watch(worker: Worker, rank: number): Promise<LoadedRank> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => {
        reject(startError(reason));
        this.#fail(reason);
      };
      worker.on('message', (message: RankMessage) => (message.kind === 'ready' ? resolve(message) : fail(message.message)));
      worker.on('error', (error) => fail(`rank ${rank}: ${error instanceof LockstepError ? error.message : String(error)}`));
      worker.on('exit', () => {
        if (!this.#stopping) fail(`rank ${rank}: its thread ended`);
      });
    });
  }

  #fail(reason: string): void {
    if (this.#fault !== null || this.#stopping) return;
    this.#fault = reason;
    // The other ranks may wait for this one inside a step.
    loadAddon().abortGroup(this.group);
    raiseAbort(this.buffers.control);
    this.#onFault?.(reason);
  }
}

/** The engine thread's side of the ranks: steps go out in order and come back in order, at most as many as there are slots. */
export class StepDriver {
  #dispatched = 0;
  #collected = 0;

  constructor(private readonly buffers: StepBuffers) {}

  /** Hands the plan of the next epoch to the ranks; returns at once. */
  dispatch(epoch: number): void {
    if (epoch !== ((this.#dispatched + 1) | 0)) throw new Error(`plan of step ${epoch} after step ${this.#dispatched}`);
    this.#dispatched = epoch;
    publish(this.buffers.control, epoch);
  }

  /** The oldest result that every rank has finished; null: none is back yet. Throws when the ranks cannot go on. */
  collect(): StepResult | null {
    const { control, results, layout } = this.buffers;
    if (hasFault(control, layout.dims.worldSize)) throw new RankFault();
    const next = (this.#collected + 1) | 0;
    if (this.#collected === this.#dispatched || !allFinished(control, layout.dims.worldSize, next)) return null;
    this.#collected = next;
    return results[next & 1]!;
  }
}

/** A rank reported a fault or is gone; the owner of the group knows the reason. */
export class RankFault extends Error {
  override readonly name = 'RankFault';
}
