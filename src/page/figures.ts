/** What the engine's counts say: rates, quantiles, time of a step. Pure; two readings of GET /engine make one figure. */

export interface Totals {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

export interface Cut {
  readonly part: string;
  readonly layers: readonly [number, number] | null;
  readonly total: number;
  readonly ranges: readonly (readonly [number, number])[];
}

/** As GET /engine answers. */
export interface EngineReading {
  readonly version: string;
  readonly clock_ms: number;
  readonly model: {
    readonly name: string;
    readonly family: string;
    readonly parameters: number;
    readonly weight_format: string;
    readonly layers: number;
    readonly hidden: number;
    readonly max_model_len: number;
    readonly max_logprobs: number;
    readonly generates: boolean;
    readonly chats: boolean;
  };
  readonly ranks: {
    readonly count: number;
    readonly mode: 'gather' | 'reduce';
    readonly devices: readonly string[];
    readonly threads_per_rank: number;
    readonly cuts: readonly Cut[];
  };
  readonly memory: {
    readonly weight_bytes: number;
    readonly kv_cache_bytes: number;
    readonly kv_cache_tokens: number;
    readonly resident_bytes: number;
    readonly system_bytes: number;
  };
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly phase_times_us: Readonly<Record<string, readonly number[]>>;
  readonly time_to_first_token_seconds: Totals;
  readonly inter_token_latency_seconds: Totals;
}

type CounterName =
  | 'running'
  | 'waiting'
  | 'kv_cache_usage'
  | 'steps'
  | 'prompt_tokens'
  | 'generation_tokens'
  | 'prefix_cache_queries'
  | 'prefix_cache_hits'
  | 'preemptions'
  | 'host_time_us';

/** Per second of the server's clock. */
export function rateOf(name: CounterName, before: EngineReading, now: EngineReading): number {
  const seconds = (now.clock_ms - before.clock_ms) / 1000;
  return seconds <= 0 ? 0 : Math.max(0, now.counters[name] - before.counters[name]) / seconds;
}

/** Of what was observed between two readings; null: nothing was. Within a bucket values are taken to lie evenly. */
export function quantileOf(q: number, before: Totals, now: Totals): number | null {
  const counts = now.counts.map((count, i) => count - (before.counts[i] ?? 0));
  const wanted = q * counts.reduce((sum, count) => sum + count, 0);
  if (wanted <= 0) return null;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    if (count > 0 && below + count >= wanted) {
      const from = i === 0 ? 0 : now.bounds[i - 1]!;
      const to = now.bounds[i] ?? from;
      return from + ((to - from) * (wanted - below)) / count;
    }
    below += count;
  }
  return now.bounds.at(-1)!;
}

/** Microseconds of a step between two readings, by phase; null: no step was made. [ranks] */
export function stepTimesOf(before: EngineReading, now: EngineReading): Readonly<Record<string, number>>[] | null {
  const steps = now.counters.steps - before.counters.steps;
  if (steps <= 0) return null;
  const phases = Object.entries(now.phase_times_us);
  return Array.from({ length: now.ranks.count }, (_, rank) =>
    Object.fromEntries(phases.map(([phase, times]) => [phase, (times[rank]! - (before.phase_times_us[phase]?.[rank] ?? 0)) / steps])),
  );
}

/** Of the tokens that were looked for, the part that was found; null: none were. */
export function hitsOf(before: EngineReading, now: EngineReading): number | null {
  const queries = now.counters.prefix_cache_queries - before.counters.prefix_cache_queries;
  return queries <= 0 ? null : (now.counters.prefix_cache_hits - before.counters.prefix_cache_hits) / queries;
}

/** Three digits, never an exponent: "0.12", "4.56", "78.9", "1,234". */
export function shortNumber(value: number): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

export function shortBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${shortNumber(bytes / 1024 ** at)} ${units[at]}`;
}

export function shortSeconds(seconds: number): string {
  if (seconds >= 1) return `${shortNumber(seconds)} s`;
  return seconds >= 0.001 ? `${shortNumber(seconds * 1000)} ms` : `${shortNumber(seconds * 1e6)} µs`;
}

/** exp(logprob) for people: "83 %", "0.4 %", "< 0.1 %". */
export function percentOf(probability: number): string {
  const percent = probability * 100;
  if (percent > 0 && percent < 0.1) return '< 0.1 %';
  return `${percent.toLocaleString('en', { maximumFractionDigits: percent < 10 ? 1 : 0 })} %`;
}
