/**
 * Ranks of one model without engine or scheduler: worker threads that make one native call a step, driven by plans written here.
 * For tests of the native core; serving goes through `parallel/rank-group.ts`.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { GpuOptions, NativeAddon, RankShard } from '../../src/addon/binding.js';
import { addonPath, openAddon } from '../../src/addon/load.js';
import { loadModel } from '../../src/model/load.js';
import type { KvCacheType, LoadedModel } from '../../src/model/spec.js';
import { shardOf } from '../../src/parallel/sharding.js';
import { type StepBuffers, stepBuffers } from '../../src/step/buffers.js';
import { entryFlag, type StepDims } from '../../src/step/layout.js';

export interface RankSetup {
  readonly path: string;
  readonly dtype: 'auto' | 'float32' | 'bfloat16';
  readonly mode: 'gather' | 'reduce';
  readonly worldSize: number;
  readonly threadsPerRank?: number;
  readonly kvCacheType?: KvCacheType;
  readonly maxModelLen?: number;
  readonly quantization?: string;
  readonly stepTimeoutMs?: number;
  readonly dims?: Partial<StepDims>;
  /** GPUs of the addon of that file, which may emulate them. */
  readonly emulated?: { readonly addon: string; readonly gpu: GpuOptions };
}

export interface Sampling {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly choice?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
}

/** One entry of a step: `count` tokens of `row` from `position` on, or from where the row is. */
export interface Entry {
  readonly row: number;
  readonly position: number;
  readonly count: number;
  readonly sample: boolean;
  readonly reset?: boolean;
  readonly promptLogprobs?: boolean;
}

export interface Output {
  readonly row: number;
  readonly id: number;
  readonly logprob: number;
  readonly rank: number;
  readonly top: readonly (readonly [id: number, logprob: number])[];
}

export class Ranks {
  readonly model: LoadedModel;
  readonly buffers: StepBuffers;
  readonly loadMs: number;
  private readonly addon: NativeAddon;
  private readonly group: number;
  private readonly workers: readonly Worker[];
  private epoch = 0;

  private constructor(
    model: LoadedModel,
    buffers: StepBuffers,
    addon: NativeAddon,
    group: number,
    workers: readonly Worker[],
    loadMs: number,
  ) {
    this.addon = addon;
    this.model = model;
    this.buffers = buffers;
    this.group = group;
    this.workers = workers;
    this.loadMs = loadMs;
  }

  static async start(setup: RankSetup): Promise<Ranks> {
    const model = await loadModel(setup.path, {
      dtype: setup.dtype,
      maxModelLen: setup.maxModelLen ?? null,
      quantization: setup.quantization ?? null,
    });
    const maxSeqLen = Math.min(model.spec.maxPositions, setup.dims?.maxSeqLen ?? 512);
    const maxRows = setup.dims?.maxRows ?? 32;
    const dims: StepDims = {
      maxRows,
      maxTokens: 512,
      blockSize: 16,
      numBlocks: maxRows * Math.ceil(maxSeqLen / 16),
      maxDrafts: 0,
      maxLogprobs: 20,
      pooledLen: 0,
      ...setup.dims,
      maxSeqLen,
      worldSize: setup.worldSize,
    };
    const buffers = stepBuffers(dims);
    const options = {
      dims,
      mode: setup.mode,
      spec: model.spec,
      kvCacheType: setup.kvCacheType ?? model.computeType,
      threadsPerRank: setup.threadsPerRank ?? 1,
      stepTimeoutMs: setup.stepTimeoutMs ?? 20_000,
      ...(setup.emulated && { gpu: setup.emulated.gpu }),
    };
    const path = setup.emulated?.addon ?? addonPath();
    const addon = openAddon(path);
    const offsets = Float64Array.from(buffers.layout.placements.map((p) => p.byteOffset));
    const group = addon.createGroup(options, new Uint8Array(buffers.shared), offsets);
    const started = performance.now();
    const shards = Array.from({ length: setup.worldSize }, (_, rank) => shardOf(model.spec, setup.mode, rank, setup.worldSize));
    const workers = shards.map((shard) => new Worker(new URL(import.meta.url), { workerData: { path, group, shard } }));
    const ranks = new Ranks(model, buffers, addon, group, workers, 0);
    await Promise.all(workers.map((worker) => ranks.ask(worker, { load: model.weights })));
    (ranks as { loadMs: number }).loadMs = performance.now() - started;
    for (let row = 0; row < dims.maxRows; row++) ranks.setRow(row, {});
    const perRow = buffers.layout.maxBlocksPerRow;
    // Rows own fixed blocks, which lie in memory in another order than in the table.
    for (let i = 0; i < dims.maxRows * perRow; i++) buffers.rows.blockTables[i] = dims.maxRows * perRow - 1 - i;
    return ranks;
  }

  setRow(row: number, sampling: Sampling, logprobs = 5): void {
    const { rows } = this.buffers;
    rows.temperature[row] = sampling.temperature ?? 0;
    rows.topP[row] = sampling.topP ?? 1;
    rows.topK[row] = sampling.topK ?? 0;
    rows.minP[row] = sampling.minP ?? 0;
    rows.presencePenalty[row] = sampling.presencePenalty ?? 0;
    rows.frequencyPenalty[row] = sampling.frequencyPenalty ?? 0;
    rows.repetitionPenalty[row] = sampling.repetitionPenalty ?? 1;
    rows.seedLow[row] = sampling.seed ?? 0;
    rows.seedHigh[row] = 0;
    rows.choice[row] = sampling.choice ?? 0;
    rows.minTokens[row] = 0;
    rows.numLogprobs[row] = logprobs;
    rows.numPromptLogprobs[row] = logprobs;
    rows.numBias[row] = 0;
    rows.numStopIds[row] = 0;
  }

  setPrompt(row: number, prompt: readonly number[]): void {
    this.buffers.rows.tokens.set(prompt, row * this.buffers.layout.dims.maxSeqLen);
    this.buffers.rows.promptLen[row] = prompt.length;
  }

  /** Writes a plan for the next epoch. */
  plan(entries: readonly Entry[]): number {
    const epoch = ++this.epoch;
    const slot = epoch & 1;
    const plan = this.buffers.plans[slot];
    let tokens = 0;
    let outputs = 0;
    entries.forEach((entry, i) => {
      plan.rows[i] = entry.row;
      plan.queryStart[i] = tokens;
      plan.startPosition[i] = entry.position;
      plan.contextMax[i] = this.buffers.layout.dims.maxSeqLen;
      plan.entryFlags[i] =
        (entry.sample ? entryFlag.sample : 0) | (entry.reset ? entryFlag.reset : 0) | (entry.promptLogprobs ? entryFlag.promptLogprobs : 0);
      plan.outputStart[i] = outputs;
      tokens += entry.count;
      outputs += entry.promptLogprobs ? entry.count : entry.sample ? 1 : 0;
    });
    plan.queryStart[entries.length] = tokens;
    plan.outputStart[entries.length] = outputs;
    plan.planHeader.set([epoch, entries.length, tokens, outputs]);
    return epoch;
  }

  async step(entries: readonly Entry[]): Promise<Output[]> {
    const epoch = this.plan(entries);
    await Promise.all(this.workers.map((worker) => this.ask(worker, { step: epoch })));
    return this.read(epoch & 1, entries);
  }

  private read(slot: number, entries: readonly Entry[]): Output[] {
    const result = this.buffers.results[slot];
    const { maxLogprobs } = this.buffers.layout.dims;
    const found: Output[] = [];
    entries.forEach((entry, i) => {
      for (let o = this.buffers.plans[slot].outputStart[i]; o < this.buffers.plans[slot].outputStart[i + 1]; o++) {
        const k = this.buffers.rows.numLogprobs[entry.row];
        found.push({
          row: entry.row,
          id: result.outputIds[o],
          logprob: result.outputLogprobs[o],
          rank: result.outputRanks[o],
          top: Array.from(
            { length: Math.max(k, 0) },
            (_, j) => [result.topIds[o * maxLogprobs + j], result.topLogprobs[o * maxLogprobs + j]] as const,
          ),
        });
      }
    });
    return found;
  }

  /** Prompt whole or in chunks, then `steps - 1` decode steps; all prompts in one batch. */
  async generate(
    prompts: readonly (readonly number[])[],
    steps: number,
    options: { chunk?: number; sampling?: Sampling; logprobs?: number } = {},
  ): Promise<Output[][]> {
    const outputs: Output[][] = prompts.map(() => []);
    prompts.forEach((prompt, row) => {
      this.setPrompt(row, prompt);
      this.setRow(row, options.sampling ?? {}, options.logprobs);
    });
    const chunk = options.chunk ?? this.buffers.layout.dims.maxTokens;
    for (let row = 0; row < prompts.length; row++) {
      for (let at = 0; at < prompts[row].length; at += chunk) {
        const count = Math.min(chunk, prompts[row].length - at);
        const sample = at + count === prompts[row].length;
        for (const output of await this.step([{ row, position: at, count, sample, reset: at === 0 }])) outputs[row].push(output);
      }
    }
    const decode = prompts.map((_, row) => ({ row, position: -1, count: 1, sample: true }));
    for (let i = 1; i < steps; i++) for (const output of await this.step(decode)) outputs[output.row].push(output);
    return outputs;
  }

  /** Every wait of the group ends. */
  abort(): void {
    this.addon.abortGroup(this.group);
  }

  /** Only rank `rank` makes the step that is in the plan buffer already; the others stay away. */
  stepAlone(rank: number): Promise<void> {
    return this.ask(this.workers[rank], { step: this.epoch });
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => this.ask(worker, { close: true })));
    await Promise.all(this.workers.map((worker) => worker.terminate()));
    this.addon.destroyGroup(this.group);
  }

  private ask(worker: Worker, message: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.once('message', (error: string | null) => (error === null ? resolve() : reject(new Error(error))));
      worker.postMessage(message);
    });
  }
}

if (!isMainThread && workerData?.shard) {
  const { path, group, shard } = workerData as { path: string; group: number; shard: RankShard };
  const rank = openAddon(path).createRank(group, shard.rank);
  parentPort?.on('message', (message: { load?: LoadedModel['weights']; step?: number; close?: boolean }) => {
    let error: string | null = null;
    if (message.load) error = rank.load(shard, message.load);
    else if (message.step !== undefined) error = rank.step(message.step) === 0 ? null : rank.fault();
    else rank.close();
    parentPort?.postMessage(error);
  });
}
