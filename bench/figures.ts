/**
 * The figures of a run, with the definitions of `vllm bench serve`: means, medians, standard deviations and percentiles over the
 * requests that succeeded, client clock. Pure.
 */
import type { RequestResult } from './stream-client.js';

export const metricNames = ['ttft', 'tpot', 'itl', 'e2el'] as const;
export type Metric = (typeof metricNames)[number];

export interface Spread {
  readonly mean: number;
  readonly median: number;
  readonly std: number;
  /** [percentile, value] */
  readonly percentiles: readonly (readonly [number, number])[];
}

export interface Figures {
  readonly completed: number;
  readonly failed: number;
  readonly durationS: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly requestThroughput: number;
  /** Requests a second that met every objective; null: none were given. */
  readonly requestGoodput: number | null;
  readonly outputThroughput: number;
  readonly totalTokenThroughput: number;
  /** Most events in one of the run's seconds. */
  readonly maxOutputTokensPerS: number;
  readonly maxConcurrentRequests: number;
  readonly spreads: Readonly<Record<Metric, Spread>>; // ms
}

/** A request that succeeded, with the counts that figures are made of. */
export interface CountedResult extends RequestResult {
  readonly inputLen: number; // tokens
  readonly outputLen: number;
}

export type Objectives = Readonly<Partial<Record<Metric, number>>>; // ms, the most that a request may take

/** Time per output token after the first, ms; 0 with one token. */
const tpotOf = (r: CountedResult) => (r.outputLen > 1 ? (r.latencyMs - r.ttftMs) / (r.outputLen - 1) : 0);

/** p in 0 … 100 of sorted values, linear between neighbours. */
export function percentile(sorted: ArrayLike<number>, p: number): number {
  if (sorted.length === 0) return 0;
  const at = (p / 100) * (sorted.length - 1);
  const low = Math.floor(at);
  const below = sorted[low] ?? 0;
  return below + ((sorted[Math.min(low + 1, sorted.length - 1)] ?? below) - below) * (at - low);
}

export function spreadOf(values: readonly number[], percentiles: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const mean = sorted.reduce((sum, value) => sum + value, 0) / Math.max(1, sorted.length);
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, sorted.length);
  return {
    mean,
    median: percentile(sorted, 50),
    std: Math.sqrt(variance),
    percentiles: percentiles.map((p) => [p, percentile(sorted, p)] as const),
  };
}

export const medianOf = (values: readonly number[]): number => spreadOf(values, []).median;

function meets(r: CountedResult, objectives: Objectives): boolean {
  // As there, each ITL does not count for goodput: its objective would be on a request's mean, which is TPOT.
  const values = { ttft: r.ttftMs, tpot: tpotOf(r), e2el: r.latencyMs };
  return (['ttft', 'tpot', 'e2el'] as const).every((metric) => values[metric] <= (objectives[metric] ?? Infinity));
}

/** Most requests in flight at one moment, and most events in one second counted from the first request's start. */
function peaks(results: readonly CountedResult[]): { concurrent: number; eventsPerS: number } {
  const start = results.reduce((least, r) => Math.min(least, r.startMs), Infinity);
  const buckets = new Map<number, number>();
  const edges: (readonly [time: number, change: number])[] = [];
  for (const r of results) {
    edges.push([r.startMs, 1], [r.startMs + r.latencyMs, -1]);
    let time = r.startMs + r.ttftMs;
    for (const gap of [0, ...r.itlMs]) {
      time += gap;
      const second = Math.floor((time - start) / 1000);
      buckets.set(second, (buckets.get(second) ?? 0) + 1);
    }
  }
  edges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let running = 0;
  let concurrent = 0;
  for (const [, change] of edges) {
    running += change;
    concurrent = Math.max(concurrent, running);
  }
  return { concurrent, eventsPerS: Math.max(0, ...buckets.values()) };
}

export function figuresOf(
  results: readonly CountedResult[],
  numFailed: number,
  durationS: number,
  percentiles: readonly number[],
  objectives: Objectives,
): Figures {
  const inputTokens = results.reduce((sum, r) => sum + r.inputLen, 0);
  const outputTokens = results.reduce((sum, r) => sum + r.outputLen, 0);
  const { concurrent, eventsPerS } = peaks(results);
  const hasObjectives = Object.keys(objectives).length > 0;
  return {
    completed: results.length,
    failed: numFailed,
    durationS,
    inputTokens,
    outputTokens,
    requestThroughput: results.length / durationS,
    requestGoodput: hasObjectives ? results.filter((r) => meets(r, objectives)).length / durationS : null,
    outputThroughput: outputTokens / durationS,
    totalTokenThroughput: (inputTokens + outputTokens) / durationS,
    maxOutputTokensPerS: eventsPerS,
    maxConcurrentRequests: concurrent,
    spreads: {
      ttft: spreadOf(
        results.map((r) => r.ttftMs),
        percentiles,
      ),
      tpot: spreadOf(results.filter((r) => r.outputLen > 1).map(tpotOf), percentiles),
      itl: spreadOf(
        results.flatMap((r) => r.itlMs),
        percentiles,
      ),
      e2el: spreadOf(
        results.map((r) => r.latencyMs),
        percentiles,
      ),
    },
  };
}
