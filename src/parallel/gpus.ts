/** Which GPUs the ranks are on, if any, and what each has room for. */
import type { MeasuredGpu } from '../addon/binding.js';
import { loadAddon } from '../addon/load.js';
import { startError } from '../errors.js';
import type { KvCacheType, LoadedModel } from '../model/spec.js';
import type { StepDims } from '../step/layout.js';
import { shardOf } from './sharding.js';

export type DeviceChoice = 'auto' | 'cpu' | 'cuda';

export interface ChosenDevices {
  /** Names of the GPUs of ranks 0 … worldSize-1; null: the ranks are on the CPU. */
  readonly gpus: readonly string[] | null;
  /** Why GPUs whose driver is there are not used; null: nothing to say. */
  readonly note: string | null;
}

/** `visible`: CUDA_VISIBLE_DEVICES, which the driver follows. Throws a start error for GPUs that are not there. */
export function chooseDevices(asked: DeviceChoice, worldSize: number, visible: string | undefined): ChosenDevices {
  if (asked === 'cpu') return { gpus: null, note: null };
  const { problem, driverVersion, devices } = loadAddon().devices();
  const seen = visible === undefined ? '' : ` (CUDA_VISIBLE_DEVICES is '${visible}')`;
  if (problem !== null) {
    if (asked === 'auto') return { gpus: null, note: driverVersion === null ? null : `GPUs are not used: ${problem}${seen}` };
    throw startError(`--device cuda: ${problem}${seen}; 'lockstep doctor' says what was found`, { param: 'device' });
  }
  if (worldSize > devices.length) {
    const there = devices.length === 1 ? 'there is 1' : `there are ${devices.length}`;
    throw startError(`--tensor-parallel-size ${worldSize} needs as many GPUs, and ${there}${seen}; --device cpu serves without`, {
      param: 'tensor-parallel-size',
    });
  }
  return { gpus: devices.slice(0, worldSize).map(({ name }, rank) => `cuda:${rank} ${name}`), note: null };
}

/** By rank. Rejects with what keeps a rank from being measured. */
export function measureGpus(model: LoadedModel, dims: StepDims, kvCacheType: KvCacheType): Promise<MeasuredGpu[]> {
  const options = { dims, mode: 'reduce', spec: model.spec, kvCacheType, threadsPerRank: 1, stepTimeoutMs: 1 } as const;
  const measured = Array.from({ length: dims.worldSize }, (_, rank) => {
    const shard = shardOf(model.spec, 'reduce', rank, dims.worldSize);
    return loadAddon().measureGpu(options, shard, model.weights);
  });
  return Promise.all(measured).catch((cause: Error) => {
    throw startError(cause.message, { cause });
  });
}
