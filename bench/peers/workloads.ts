/** What the servers are compared in: fresh random tokens, greedy, no end of sequence; one figure each, and what it could be at most. */
import type { Figures } from '../figures.js';
import { type BenchServeSettings, benchServe } from '../serve.js';
import type { Format, ModelCost } from './models.js';
import { type Load, type Roof, roofSeconds } from './roof.js';

/** Of milliseconds and megabytes fewer are better. */
export type Unit = 'tok/s' | 'ms' | 'MB';

/** A workload without a load is measured at the start of a server, or at its end. */
export interface Workload {
  readonly title: string;
  readonly unit: Unit;
  readonly load: Load | null;
  readonly value: (figures: Figures) => number;
  /** null: nothing bounds it but the program. */
  readonly roof: ((load: Load, cost: ModelCost, format: Format, roof: Roof) => number) | null;
}

const perStep = (figures: Figures) => 1000 / figures.spreads.tpot.median;
const throughput = (figures: Figures) => figures.outputThroughput;

/** Tokens of all streams over the time of their prompts and steps, as `outputThroughput` counts them. */
function streamsRoof(load: Load, cost: ModelCost, format: Format, roof: Roof): number {
  const { prefill, decode } = roofSeconds(load, cost, format, roof);
  return (load.concurrency * load.outputLen) / (prefill + decode);
}

export const workloads = {
  start: { title: 'start to first token', unit: 'ms', load: null, value: () => Number.NaN, roof: null },
  decode1: {
    title: 'decode, 1 stream',
    unit: 'tok/s',
    load: { inputLen: 32, outputLen: 128, numPrompts: 3, concurrency: 1 },
    value: perStep,
    roof: (load, cost, format, roof) => (load.outputLen - 1) / roofSeconds(load, cost, format, roof).decode,
  },
  decode16: {
    title: '16 streams',
    unit: 'tok/s',
    load: { inputLen: 32, outputLen: 128, numPrompts: 32, concurrency: 16 },
    value: throughput,
    roof: streamsRoof,
  },
  decode256: {
    title: '256 streams',
    unit: 'tok/s',
    load: { inputLen: 32, outputLen: 64, numPrompts: 256, concurrency: 256 },
    value: throughput,
    roof: streamsRoof,
  },
  prefill: {
    title: 'prefill of 512 tokens',
    unit: 'tok/s',
    load: { inputLen: 512, outputLen: 1, numPrompts: 6, concurrency: 1 },
    value: (figures) => (512 * 1000) / figures.spreads.ttft.median,
    roof: (load, cost, format, roof) => load.inputLen / roofSeconds(load, cost, format, roof).prefill,
  },
  memory: { title: 'resident memory after these', unit: 'MB', load: null, value: () => Number.NaN, roof: null },
} as const satisfies Readonly<Record<string, Workload>>;
export type WorkloadName = keyof typeof workloads;

/** Most sequences that a load has at once. */
export const streamsOf = (name: WorkloadName): number => workloads[name].load?.concurrency ?? 1;

/** One run of a load against a server. Throws when a request fails. */
export async function measureLoad(workload: Workload & { readonly load: Load }, baseUrl: string, seed: number): Promise<number> {
  const { figures, results } = await benchServe(settingsOf(workload.load, baseUrl, seed));
  const error = results.find((result) => result.error !== null)?.error;
  if (error) throw new Error(`${workload.title}: ${error}`);
  return workload.value(figures);
}

function settingsOf(load: Load, baseUrl: string, seed: number): BenchServeSettings {
  return {
    backend: 'openai',
    baseUrl,
    endpoint: null,
    headers: {},
    model: 'm',
    dataset: { name: 'random', inputLen: load.inputLen, outputLen: load.outputLen, rangeRatio: 0, prefixLen: 0 },
    numPrompts: load.numPrompts,
    requestRate: Number.POSITIVE_INFINITY,
    burstiness: 1,
    maxConcurrency: load.concurrency,
    numWarmups: 1,
    extraBody: { ignore_eos: true, temperature: 0 },
    percentiles: [99],
    objectives: {},
    seed,
    timeoutMs: 600_000,
  };
}
