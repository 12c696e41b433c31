/** Where a model's ranks are and what memory they have there: from the flags, the GPUs of this machine and its memory. */
import type { GpuOptions } from '../addon/binding.js';
import { largestSteps, type MemoryPlace, type SizingOptions } from '../engine/sizing.js';
import { startError } from '../errors.js';
import type { Logger } from '../log.js';
import { weightBytes } from '../model/quantization/formats.js';
import { type KvCacheType, kvBytesPerToken, type LoadedModel } from '../model/spec.js';
import { availableMemoryBytes, threadsPerRank, totalMemoryBytes } from '../parallel/devices.js';
import { chooseDevices, measureGpus } from '../parallel/gpus.js';
import { shardOf, type TensorParallelMode } from '../parallel/sharding.js';
import { libraryRoots } from './environment.js';
import type { EngineOptions } from './options.js';

/** Free memory beside weights and KV cache: activations, the process itself. */
const cpuReserveBytes = 150 * 2 ** 20;
/** On a GPU beside weights, activations and KV cache: recorded steps and cuBLASLt's workspace; and of several what NCCL takes for its channels. */
const gpuReserveBytes = 160 * 2 ** 20;
const ncclReserveBytes = 384 * 2 ** 20;

type Environment = Readonly<Record<string, string | undefined>>;

export interface RankPlaces {
  /** What each rank is on: "cpu", "cuda:0 NVIDIA H200". */
  readonly devices: readonly string[];
  readonly mode: TensorParallelMode;
  readonly threadsPerRank: number;
  /** null: the ranks are on the CPU. */
  readonly gpu: GpuOptions | null;
}

/** Throws a start error for GPUs that are not there, or that cannot do what is asked. */
export function choosePlaces(options: EngineOptions, environment: Environment, logger: Logger): RankPlaces {
  const { device, tensorParallelSize: worldSize, tensorParallelMode: mode } = options;
  const { gpus, note } = chooseDevices(device, worldSize, environment['CUDA_VISIBLE_DEVICES']);
  if (note !== null) logger.warn(note);
  if (gpus === null) {
    const threads = threadsPerRank(options.cpuThreads, worldSize);
    return { devices: new Array(worldSize).fill('cpu'), mode: mode === 'auto' ? 'gather' : mode, threadsPerRank: threads, gpu: null };
  }
  const refuse = (param: string, value: string, reason: string): never => {
    throw startError(`--${param} ${value} is not for GPUs: ${reason}; leave it out or say --device cpu`, { param });
  };
  if (mode === 'gather') refuse('tensor-parallel-mode', mode, 'their ranks hold partial sums (reduce)');
  if (options.kvCacheDtype === 'int8') refuse('kv-cache-dtype', 'int8', 'their KV cache is float32 or bfloat16');
  if (options.deterministic && options.disableCustomAllReduce) {
    throw startError('--deterministic and --disable-custom-all-reduce exclude each other: NCCL promises no order of sums', {
      param: 'deterministic',
    });
  }
  if (options.cpuThreads !== null) refuse('cpu-threads', String(options.cpuThreads), 'a rank there has one thread');
  const sums = options.deterministic ? 'peers' : options.disableCustomAllReduce ? 'library' : 'quickest';
  const gpu = {
    sums,
    nccl: options.ncclLibrary ?? '',
    cublasLt: options.cublasltLibrary ?? '',
    roots: libraryRoots(environment),
    records: !options.enforceEager,
    oneDevice: false,
  } as const;
  return { devices: gpus, mode: 'reduce', threadsPerRank: 1, gpu };
}

/** What `sizeSteps` divides. Rejects with a start error where a GPU cannot be asked. */
export async function memoryPlaces(
  model: LoadedModel,
  { gpu }: RankPlaces,
  kvCacheType: KvCacheType,
  sizing: SizingOptions,
): Promise<MemoryPlace[]> {
  const { spec } = model;
  const kvBytes = kvBytesPerToken(spec, kvCacheType);
  if (gpu === null) {
    const memory = { name: 'memory', total: totalMemoryBytes(), free: availableMemoryBytes(), reserve: cpuReserveBytes };
    return [{ ...memory, weights: weightBytes(model.weights), kvBytesPerToken: kvBytes }];
  }
  const { worldSize } = sizing;
  const reserve = gpuReserveBytes + (worldSize > 1 && gpu.sums !== 'peers' ? ncclReserveBytes : 0);
  const measured = await measureGpus(model, largestSteps(model, sizing), kvCacheType);
  return measured.map(({ totalBytes, freeBytes, weightBytes: weights, stepBytes }, rank) => {
    const [, numKvHeads] = shardOf(spec, 'reduce', rank, worldSize).kvHeads;
    const held = (kvBytes / spec.dims.kvHeads) * numKvHeads;
    return { name: `GPU ${rank}`, total: totalBytes, free: freeBytes, weights, reserve: reserve + stepBytes, kvBytesPerToken: held };
  });
}
