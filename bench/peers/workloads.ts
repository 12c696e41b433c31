/** What the servers are compared in. Random tokens, greedy, no end of sequence; one figure each. */
import type { Figures } from '../figures.js';
import { type BenchServeSettings, benchServe } from '../serve.js';
import { type RunningServer, type ServerCommand, startServer } from './server-process.js';

interface Load {
  readonly inputLen: number; // tokens
  readonly outputLen: number;
  readonly numPrompts: number;
  readonly concurrency: number;
}

interface Workload {
  readonly name: string;
  readonly unit: string;
  readonly isMoreBetter: boolean;
  readonly load: Load | null;
  readonly value: (figures: Figures | null, server: RunningServer) => number;
}

const perSecond = (figures: Figures | null) => 1000 / (figures?.spreads.tpot.median ?? Number.NaN);

export const workloads: readonly Workload[] = [
  { name: 'start to first token', unit: 'ms', isMoreBetter: false, load: null, value: (_, server) => server.firstTokenMs },
  {
    name: 'decode, 1 stream',
    unit: 'tok/s',
    isMoreBetter: true,
    load: { inputLen: 32, outputLen: 128, numPrompts: 4, concurrency: 1 },
    value: perSecond,
  },
  {
    name: '16 streams',
    unit: 'tok/s',
    isMoreBetter: true,
    load: { inputLen: 32, outputLen: 64, numPrompts: 32, concurrency: 16 },
    value: (figures) => figures?.outputThroughput ?? Number.NaN,
  },
  {
    name: 'prefill of 512 tokens',
    unit: 'tok/s',
    isMoreBetter: true,
    load: { inputLen: 512, outputLen: 1, numPrompts: 6, concurrency: 1 },
    value: (figures) => (512 * 1000) / (figures?.spreads.ttft.median ?? Number.NaN),
  },
  { name: 'resident memory', unit: 'MB', isMoreBetter: false, load: null, value: (_, server) => server.memory().resident / 1e6 },
];

/** One life of a server: start, every workload in the order of the table, stop. One value a workload. */
export async function measure(command: ServerCommand, seed: number): Promise<number[]> {
  const server = await startServer(command);
  try {
    const values: number[] = [];
    for (const { name, load, value } of workloads) {
      const figures = load === null ? null : (await benchServe(settingsOf(load, server.baseUrl, command.model, seed))).figures;
      if (figures && figures.failed > 0) throw new Error(`${command.name}, ${name}: ${figures.failed} requests failed`);
      values.push(value(figures, server));
    }
    return values;
  } finally {
    await server.stop();
  }
}

function settingsOf(load: Load, baseUrl: string, model: string, seed: number): BenchServeSettings {
  return {
    backend: 'openai',
    baseUrl,
    endpoint: null,
    headers: {},
    model,
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
