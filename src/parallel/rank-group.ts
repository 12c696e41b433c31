/**
 * The ranks of one model: starts a worker thread for each, watches them, stops them. Lives on the thread that owns the process; the
 * engine thread drives steps over the same buffers with `StepDriver`.
 */
import type { Worker } from 'node:worker_threads';
import type { GpuOptions } from '../addon/binding.js';
import { loadAddon } from '../addon/load.js';
import type { DiskCache } from '../cache/disk-cache.js';
import { LockstepError, startError } from '../errors.js';
import type { KvCacheType, LoadedModel } from '../model/spec.js';
import { type StepBuffers, stepBuffers } from '../step/buffers.js';
import type { StepDims } from '../step/layout.js';
import { raiseAbort, stopRanks } from './channel.js';
import type { RankMessage, RankStart } from './rank-worker.js';
import { shardOf, type TensorParallelMode } from './sharding.js';
import { giveTask, startRankThreads } from './threads.js';
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
  /** The ranks are on GPUs, each on that of its number. */
  readonly gpu?: GpuOptions;
  /** Started early (`threads.ts`), one for each rank; absent: they are started now. */
  readonly threads?: readonly Worker[];
}

/** The rank that has failed may say why a little after those that were woken by it say that they were. */
const causeWaitMs = 200;

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
  #numWoken = 0;
  #onFault: ((reason: string) => void) | null = null;

  constructor(model: LoadedModel, options: RankGroupOptions) {
    const { dims, mode, threadsPerRank, stepTimeoutMs, gpu } = options;
    const cache = gpu === undefined ? options.cache : null; // a GPU's weights are packed for nobody
    const { spec, weights } = model;
    const kvCacheType = options.kvCacheType ?? model.computeType;
    this.buffers = stepBuffers(dims);
    const offsets = Float64Array.from(this.buffers.layout.placements, (p) => p.byteOffset);
    const group = { dims, mode, spec, kvCacheType, threadsPerRank, stepTimeoutMs, ...(gpu && { gpu }) };
    this.group = loadAddon().createGroup(group, new Uint8Array(this.buffers.shared), offsets);
    const shards = Array.from({ length: dims.worldSize }, (_, rank) => shardOf(spec, mode, rank, dims.worldSize));
    const paths = cache && packedPaths(model, shards, cache);
    this.#workers = options.threads ?? startRankThreads(dims.worldSize);
    this.ready = Promise.all(this.#workers.map((worker, rank) => this.#watch(worker, rank))).then((loaded) => {
      if (cache && paths) this.#storing = keepPacked(loaded, paths, cache, (rank, path) => loadAddon().saveWeights(this.group, rank, path));
      return loaded.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    });
    for (const [rank, worker] of this.#workers.entries()) {
      const start = { group: this.group, shard: shards[rank]!, weights, packed: paths?.[rank] ?? null, dims, shared: this.buffers.shared };
      giveTask(worker, start satisfies RankStart);
    }
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
      let hasFailed = false; // then its thread ends too, which is no news
      const fail = (reason: string, isCause = true) => {
        if (hasFailed) return;
        hasFailed = true;
        reject(startError(reason));
        this.#fail(reason, isCause);
      };
      worker.on('message', (message: RankMessage) =>
        message.kind === 'ready' ? resolve(message) : fail(message.message, message.isCause),
      );
      worker.on('error', (error) => fail(`rank ${rank}: ${error instanceof LockstepError ? error.message : String(error)}`));
      worker.on('exit', () => {
        if (!this.#stopping) fail(`rank ${rank}: its thread ended`);
      });
    });
  }

  #fail(reason: string, isCause: boolean): void {
    if (this.#fault !== null || this.#stopping) return;
    // The other ranks may wait for this one inside a step.
    loadAddon().abortGroup(this.group);
    raiseAbort(this.buffers.control);
    if (isCause || ++this.#numWoken === this.#workers.length) this.#tell(reason);
    else setTimeout(() => this.#tell(reason), causeWaitMs);
  }

  #tell(reason: string): void {
    if (this.#fault !== null || this.#stopping) return;
    this.#fault = reason;
    this.#onFault?.(reason);
  }
}
