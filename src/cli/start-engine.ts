/** Options -> model -> ranks -> engine: the wiring that `serve` and `bench throughput` share. */
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { loadAddon } from '../addon/load.js';
import { cacheFolder, DiskCache } from '../cache/disk-cache.js';
import type { EngineClient } from '../engine/client.js';
import type { EngineLink } from '../engine/engine-port.js';
import { EngineThread } from '../engine/engine-thread.js';
import type { Placement } from '../engine/placement.js';
import { sizeSteps } from '../engine/sizing.js';
import { startError } from '../errors.js';
import { createLogger, type Logger } from '../log.js';
import type { HubOptions } from '../model/hub.js';
import { loadModel } from '../model/load.js';
import { resolveModel } from '../model/resolve.js';
import { type KvCacheType, kvBytesPerToken, type LoadedModel } from '../model/spec.js';
import { cutsOf } from '../parallel/cuts.js';
import { RankGroup } from '../parallel/rank-group.js';
import { checkWorldSize, type TensorParallelMode } from '../parallel/sharding.js';
import { forcedIdsMax } from '../scheduler/scheduler.js';
import type { StepDims } from '../step/layout.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { OfflineEngine } from './bench-throughput.js';
import { autoLen, type EngineOptions } from './options.js';
import { choosePlaces, memoryPlaces } from './places.js';
import { speculationOf } from './speculative-config.js';

export interface StartedEngine {
  /** MODEL as given, or the bundled model's name. */
  readonly name: string;
  readonly model: LoadedModel;
  readonly dims: StepDims;
  readonly placement: Placement;
  readonly engine: EngineClient;
  /** For the other threads that ask. */
  readonly links: readonly EngineLink[];
  /** What is kept between starts; null: nothing. */
  readonly cache: DiskCache | null;
  /** Resolves when the ranks are loaded and requests are taken; rejects with what kept them from it. */
  readonly ready: Promise<EngineFacts>;
  /** Another part of the server has failed: as where a rank does. */
  fail(reason: string): void;
  stop(): Promise<void>;
}

/** For one record of the log. */
export interface EngineFacts {
  readonly ranks: number;
  /** What they are on, by rank. */
  readonly devices: readonly string[];
  /** Compute threads of all ranks. */
  readonly threads: number;
  readonly mode: TensorParallelMode;
  readonly weightBytes: number;
  /** Tokens that the KV cache holds. */
  readonly kvTokens: number;
}

/** Threads that came up while modules were read; each is used once. */
export interface EarlyThreads {
  readonly ranks: readonly Worker[];
  readonly engine: Worker;
}

export interface Askers {
  readonly numThreads: number;
  readonly numOwners: number;
}

const oneAsker: Askers = { numThreads: 1, numOwners: 1 };

export interface Surroundings {
  readonly threads?: EarlyThreads;
  /** Threads that ask, this one included, and owners that share the queue; 1 where nothing is said. */
  readonly askers?: Askers;
  readonly logger: Logger;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A rank, the engine or who called `fail` has failed for good: requests of this thread have ended with an error. Called at most once. */
  readonly onFault: (reason: string) => void;
}

/** models/guide, from dist/src/cli. */
const bundledModel = fileURLToPath(new URL('../../../models/guide', import.meta.url));
const bundledName = 'guide';

export async function startEngine(
  options: EngineOptions,
  { logger, environment, onFault, threads: early, askers = oneAsker }: Surroundings,
): Promise<StartedEngine> {
  const worldSize = options.tensorParallelSize;
  checkWorldSize(worldSize);
  const places = choosePlaces(options, environment, logger);
  const { mode, threadsPerRank: threads, devices, gpu } = places;
  const env = {
    ...environment,
    ...(options.hfToken !== null && { HF_TOKEN: options.hfToken }),
    ...(options.downloadDir !== null && { HF_HUB_CACHE: options.downloadDir }),
  };
  const hub = { env, log: logger, progress: process.stderr };
  const path = options.model === null ? bundledModel : await resolveModel(options.model, { ...hub, ...revisionOf(options.revision) });
  const tokenizerPath = await findTokenizer(options, hub);
  const maxModelLen = options.maxModelLen === autoLen ? ('auto' as const) : options.maxModelLen;
  const { dtype, quantization, runner, convert, poolerConfig: pooler, hfOverrides: overrides } = options;
  const pooling = { runner, convert, pooler };
  const wantedLen = maxModelLen === 'auto' ? null : maxModelLen;
  const model = await loadModel(path, {
    format: options.loadFormat,
    dtype,
    maxModelLen: wantedLen,
    quantization,
    pooling,
    overrides,
    tokenizerPath,
  });
  for (const note of model.notes) logger.info(note);
  // Tokens that see each other are computed in one step, and none of them is the same behind another prefix.
  const { causal } = model.spec;
  const chunkedPrefill = options.enableChunkedPrefill && causal;
  const speculation = speculationOf(options);
  if (model.pooling !== null && speculation !== null)
    throw startError('--speculative-config is of no use with a model that generates no tokens', { param: 'speculative-config' });
  const kvCacheType = options.kvCacheDtype === 'auto' ? model.computeType : (options.kvCacheDtype as KvCacheType); // checked with the options
  const sizing = {
    ...options,
    maxModelLen,
    numBlocks: options.numGpuBlocksOverride,
    memoryUtilization: options.gpuMemoryUtilization,
    onGpus: gpu !== null,
    worldSize,
    chunkedPrefill,
    maxDrafts: Math.max(speculation?.maxDrafts ?? 0, forcedIdsMax),
    pools: model.pooling !== null,
  };
  const dims = sizeSteps(model, await memoryPlaces(model, places, kvCacheType, sizing), sizing);
  const cache = openCache(options, environment, logger);
  const ranks = new RankGroup(model, {
    dims,
    mode,
    threadsPerRank: threads,
    kvCacheType,
    stepTimeoutMs: Math.ceil(options.distributedTimeoutSeconds * 1000),
    cache,
    ...(gpu && { gpu }),
    ...(early && { threads: early.ranks }),
  });
  const scheduler = {
    maxNumSeqs: options.maxNumSeqs,
    enablePrefixCaching: options.enablePrefixCaching && causal,
    chunkedPrefill,
    longPrefillThreshold: options.longPrefillTokenThreshold,
    policy: options.schedulingPolicy,
    watermark: options.watermark,
    maxInFlight: options.asyncScheduling ? 2 : 1,
    ...(speculation === null ? {} : { speculation }),
  } as const;
  const kvCacheTokens = dims.numBlocks * dims.blockSize;
  const placement = {
    ranks: worldSize,
    devices,
    mode,
    threadsPerRank: threads,
    cuts: cutsOf(model.spec, mode, worldSize),
    kvCacheBytes: kvCacheTokens * kvBytesPerToken(model.spec, kvCacheType),
    kvCacheTokens,
  };
  let stopped = false;
  let failed = false;
  const fault = (reason: string) => {
    if (stopped || failed) return;
    failed = true;
    engine.client.fail(reason);
    onFault(reason);
  };
  const { numThreads: numPorts, numOwners } = askers;
  const { maxNumQueuedReqs: queueLenMax, seed } = options;
  const engineOptions = { scheduler, queueLenMax, numOwners, numPorts, seed, group: ranks.group };
  const engine = new EngineThread(ranks.buffers, engineOptions, fault, early?.engine);
  const ready = ranks.ready.then((weightBytes) => {
    ranks.onFault(fault);
    engine.client.open();
    return {
      ranks: worldSize,
      devices,
      threads: worldSize * threads,
      mode,
      weightBytes,
      kvTokens: placement.kvCacheTokens,
    };
  });
  const stop = async () => {
    stopped = true;
    await engine.stop();
    await ranks.stop();
  };
  return {
    name: options.model ?? bundledName,
    model,
    dims,
    placement,
    engine: engine.client,
    links: engine.links,
    cache,
    ready,
    fail: fault,
    stop,
  };
}

const revisionOf = (revision: string | null) => (revision === null ? {} : { revision });

/** Where --tokenizer lies; null: with the model. */
async function findTokenizer({ tokenizer, tokenizerRevision, model }: EngineOptions, hub: HubOptions): Promise<string | null> {
  if (tokenizer === null && tokenizerRevision === null) return null;
  const name = tokenizer ?? model;
  if (name === null) {
    throw startError('--tokenizer-revision needs --tokenizer or MODEL: the bundled model has no revisions', {
      param: 'tokenizer-revision',
    });
  }
  return resolveModel(name, { ...hub, ...revisionOf(tokenizerRevision), only: 'tokenizer' });
}

function openCache(options: EngineOptions, environment: Surroundings['environment'], logger: Logger): DiskCache | null {
  const folder = cacheFolder(environment);
  return options.weightCache && folder !== null ? new DiskCache({ folder, bytesMax: options.weightCacheSize, logger }) : null;
}

/** An engine without HTTP around it, ready for requests. A fault ends the process, as there is nobody to answer. */
export async function startOffline(
  options: EngineOptions,
  environment: Surroundings['environment'],
  askers = oneAsker,
): Promise<OfflineEngine> {
  const onFault = (reason: string) => {
    process.stderr.write(`lockstep: the engine has failed: ${reason}\n`);
    loadAddon().exitNow(1);
  };
  const started = await startEngine(options, { logger: createLogger('warning'), environment, onFault, askers });
  try {
    const [tokenizer] = await Promise.all([loadTokenizer(started.model.tokenizer, started.cache), started.ready]);
    return { client: started.engine, tokenizer, maxModelLen: started.dims.maxSeqLen, weights: started.model.weights, stop: started.stop };
  } catch (error) {
    await started.stop();
    throw error;
  }
}
