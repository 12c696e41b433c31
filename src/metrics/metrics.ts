/**
 * What /metrics shows of the engine and of requests, under vLLM's names, so that its dashboards and routers find them: gauges and counters of the
 * engine, read when asked for, and histograms of requests, measured on the thread that answers them.
 *
 * Times are of the frontend's clock: arrival is the start of reading the request.
 */
import { HttpMetrics, type MeasuredRoute } from './http.js';
import { addProcess } from './process.js';
import { type Counter, createSheet, type HistogramTotals, type Labels, type Read, Registry, type Sheet } from './series.js';

/** Counts for each bound and above them all, then the sum. */
export type BucketCounts = readonly number[];

/** What is read of the engine; the engine's client gives it. */
export interface EngineFigures {
  readonly running: number;
  readonly waiting: number;
  readonly kvCacheUsage: number;
  readonly preemptions: number;
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly prefixCacheQueries: number;
  readonly prefixCacheHits: number;
  readonly specDrafts: number;
  readonly specDraftTokens: number;
  readonly specAcceptedTokens: number;
  /** Empty: no speculation. */
  readonly specAcceptedPerPosition: readonly number[];
  readonly steps: number;
  readonly hostTimeUs: number;
  /** Of all steps, by phase and rank. */
  readonly phaseTimesUs: Readonly<Record<string, readonly number[]>>;
  /** 1 while it sleeps, else 0. */
  readonly asleep: number;
  /** Tokens of each step, by `stepTokenBounds`. */
  readonly stepTokens: BucketCounts;
  /** How often each finished sequence was preempted, by `preemptionBounds`. */
  readonly requestPreemptions: BucketCounts;
}

export interface EngineCounterSource {
  counters(): EngineFigures;
}

/** What is measured of a request. */
export interface TrackedRequest {
  readonly promptTokens: { readonly length: number };
  readonly sampling: { readonly n: number };
  readonly stop: { readonly maxTokens: number };
}

export interface RequestTimer {
  prompt(cachedTokens: number, queueMs: number): void;
  /** New tokens of a choice; `finishReason` with its last. */
  tokens(choice: number, count: number, finishReason: string | null): void;
  /** Reads what `tokens` will read: see the engine's `RequestEvents`. */
  warm(): number;
  closed(): void;
  /** Of the first choice. */
  times(): RequestTimes;
}

/** In milliseconds of `performance.now()`; 0: not yet. */
export interface RequestTimes {
  readonly queueMs: number;
  /** Its first step begins, and its first and latest tokens arrive. */
  readonly scheduledMs: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly numTokens: number;
}

const firstTokenBounds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];
const tokenBounds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const latencyBounds = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
export const stepTokenBounds: readonly number[] = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
export const preemptionBounds: readonly number[] = [1, 2, 3, 4, 5, 10, 20];

/** 1, 2, 5, 10, … up to the longest sequence. */
export function tokenCountBounds(max: number): number[] {
  const bounds: number[] = [];
  for (let decade = 1; ; decade *= 10) {
    for (const step of [1, 2, 5]) {
      if (step * decade > max) return bounds;
      bounds.push(step * decade);
    }
  }
}

const finishReasons = ['stop', 'length', 'abort', 'error', 'repetition'] as const;

/** The histograms of requests. Made when the model is known, since bounds depend on its length. */
function createSeries(registry: Registry, model: Labels, maxModelLen: number) {
  const labels = { ...model, engine: '0' };
  const histogram = (name: string, help: string, bounds: readonly number[]) => registry.histogram(`vllm:${name}`, help, labels, bounds);
  const lengths = tokenCountBounds(maxModelLen);
  const ends = finishReasons.map((finished_reason) => ({ ...labels, finished_reason }));
  const rejections = ['max_num_queued_reqs', 'max_num_queued_tokens'].map((reason) => ({ ...model, reason }));
  return {
    success: registry.counters('vllm:request_success', 'Count of successfully processed requests.', ends),
    rejected: registry.counters(
      'vllm:admission_rejections',
      'Number of admission attempts rejected by a queue limit, by reason.',
      rejections,
    )[0]!,
    promptTokens: histogram('request_prompt_tokens', 'Number of prefill tokens processed.', lengths),
    generationTokens: histogram('request_generation_tokens', 'Number of generation tokens processed.', lengths),
    maxGenerationTokens: histogram(
      'request_max_num_generation_tokens',
      'Histogram of maximum number of requested generation tokens.',
      lengths,
    ),
    paramsN: histogram('request_params_n', 'Histogram of the n request parameter.', [1, 2, 5, 10, 20]),
    paramsMaxTokens: histogram('request_params_max_tokens', 'Histogram of the max_tokens request parameter.', lengths),
    prefillComputed: histogram(
      'request_prefill_kv_computed_tokens',
      'Histogram of new KV tokens computed during prefill (excluding cached tokens).',
      lengths,
    ),
    firstToken: histogram('time_to_first_token_seconds', 'Histogram of time to first token in seconds.', firstTokenBounds),
    interToken: histogram('inter_token_latency_seconds', 'Histogram of inter-token latency in seconds.', tokenBounds),
    perToken: histogram('request_time_per_output_token_seconds', 'Histogram of time_per_output_token_seconds per request.', tokenBounds),
    endToEnd: histogram('e2e_request_latency_seconds', 'Histogram of e2e request latency in seconds.', latencyBounds),
    queue: histogram('request_queue_time_seconds', 'Histogram of time spent in WAITING phase for request.', latencyBounds),
    prefill: histogram('request_prefill_time_seconds', 'Histogram of time spent in PREFILL phase for request.', latencyBounds),
    inference: histogram('request_inference_time_seconds', 'Histogram of time spent in RUNNING phase for request.', latencyBounds),
    decode: histogram('request_decode_time_seconds', 'Histogram of time spent in DECODE phase for request.', latencyBounds),
  };
}

type Series = ReturnType<typeof createSeries>;

/** The engine counts for itself; its figures are fetched once a scrape, by `fetch`. */
function addEngine(registry: Registry, model: Labels, fetch: () => EngineFigures): void {
  const labels = { ...model, engine: '0' };
  let now = fetch();
  const by = (name: string, parts: Readonly<Record<string, Read>>) =>
    Object.entries(parts).map(([value, read]) => [{ ...labels, [name]: value }, read] as const);
  const gauge = (name: string, help: string, read: Read) => registry.gauge(`vllm:${name}`, help, [[labels, read]]);
  const counter = (name: string, help: string, read: Read) => registry.readCounter(`vllm:${name}`, help, [[labels, read]]);
  const counters = (name: string, help: string, parts: readonly (readonly [Labels, Read])[]) =>
    registry.readCounter(`vllm:${name}`, help, parts);

  gauge('num_requests_running', 'Number of requests in model execution batches.', () => {
    now = fetch();
    return now.running;
  });
  gauge('num_requests_waiting', 'Number of requests waiting to be processed.', () => now.waiting);
  registry.gauge(
    'vllm:num_requests_waiting_by_reason',
    'Number of waiting requests by reason.',
    by('reason', { capacity: () => now.waiting, deferred: () => 0 }),
  );
  registry.gauge(
    'vllm:engine_sleep_state',
    'Engine sleep state; awake = 0 means engine is sleeping. Weights stay where they are.',
    by('sleep_state', { awake: () => 1 - now.asleep, weights_offloaded: () => 0, discard_all: () => 0 }),
  );
  gauge('kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', () => now.kvCacheUsage);
  counter('prefix_cache_queries', 'Prefix cache queries, in terms of number of queried tokens.', () => now.prefixCacheQueries);
  counter('prefix_cache_hits', 'Prefix cache hits, in terms of number of cached tokens.', () => now.prefixCacheHits);
  counter('num_preemptions', 'Cumulative number of preemption from the engine.', () => now.preemptions);
  counter('prompt_tokens', 'Number of prefill tokens processed.', () => now.promptTokens);
  counter('generation_tokens', 'Number of generation tokens processed.', () => now.generationTokens);
  counter('prompt_tokens_cached', 'Number of cached prompt tokens (local + external).', () => now.prefixCacheHits);
  counters(
    'prompt_tokens_cached_by_source',
    'Prefix-cache hit tokens by the cache tier that supplied them.',
    by('source', { device: () => now.prefixCacheHits, host: () => 0, p2p: () => 0, disk: () => 0, external_unspecified: () => 0 }),
  );
  counters(
    'prompt_tokens_by_source',
    'Number of prompt tokens by source.',
    by('source', {
      local_compute: () => Math.max(0, now.promptTokens - now.prefixCacheHits),
      local_cache_hit: () => now.prefixCacheHits,
      external_kv_transfer: () => 0,
    }),
  );
  registry.readHistogram(
    'vllm:iteration_tokens_total',
    'Histogram of number of tokens per engine_step.',
    labels,
    stepTokenBounds,
    () => now.stepTokens,
  );
  registry.readHistogram(
    'vllm:request_num_preemptions',
    'Histogram of the number of times a request was preempted.',
    labels,
    preemptionBounds,
    () => now.requestPreemptions,
  );
  if (now.specAcceptedPerPosition.length > 0) {
    counter('spec_decode_num_drafts', 'Number of spec decoding drafts.', () => now.specDrafts);
    counter('spec_decode_num_draft_tokens', 'Number of draft tokens.', () => now.specDraftTokens);
    counter('spec_decode_num_accepted_tokens', 'Number of accepted tokens.', () => now.specAcceptedTokens);
    const positions = now.specAcceptedPerPosition.map(
      (_, i) => [{ ...labels, position: String(i) }, () => now.specAcceptedPerPosition[i]!] as const,
    );
    counters('spec_decode_num_accepted_tokens_per_pos', 'Accepted tokens per draft position.', positions);
  }
  registry.readCounter('lockstep:engine_steps', 'Number of engine steps.', [[labels, () => now.steps]]);
  registry.readCounter('lockstep:engine_host_seconds', "Time of the engine's own work: plan, result, delivery.", [
    [labels, () => now.hostTimeUs / 1e6],
  ]);
}

export interface MetricsParts {
  /** The routes that are measured, each by itself. */
  readonly routes: readonly MeasuredRoute[];
  /** A sheet for each thread that answers requests; all threads are given the same. */
  readonly sheets: readonly Sheet[];
  /** Which of the sheets this thread counts in. */
  readonly own: number;
  /** Since when, in milliseconds since 1970; left out: now. */
  readonly startMs?: number;
}

/** Of a request of which nothing was heard. */
export const noTimes: RequestTimes = { queueMs: 0, scheduledMs: 0, firstMs: 0, lastMs: 0, numTokens: 0 };
const noTimer: RequestTimer = { prompt() {}, tokens() {}, warm: () => 0, closed() {}, times: () => noTimes };

export class Metrics {
  readonly http: HttpMetrics;
  readonly #registry: Registry;
  #series: Series | null = null;

  constructor({ routes, sheets, own, startMs = Date.now() }: MetricsParts = { routes: [], sheets: [createSheet()], own: 0 }) {
    this.#registry = new Registry(sheets, own, startMs);
    addProcess(this.#registry);
    this.http = new HttpMetrics(this.#registry, routes);
  }

  /** Called once, when the model is ready. */
  setModel(name: string, engine: EngineCounterSource, maxModelLen: number, cacheConfig: Readonly<Record<string, string>>): void {
    const model = { model_name: name };
    addEngine(this.#registry, model, () => engine.counters());
    this.#series = createSeries(this.#registry, model, maxModelLen);
    const info = { ...cacheConfig, engine: '0' };
    this.#registry.gauge('vllm:cache_config_info', 'Information of the LLMEngine CacheConfig', [[info, () => 1]]);
  }

  /** What each rank is on, as `Placement.devices` says it. */
  setDevices(devices: readonly string[]): void {
    const ranks = devices.map((device, rank) => [{ rank: String(rank), device }, () => 1] as const);
    this.#registry.gauge('lockstep:rank_info', 'What each rank is on', ranks);
  }

  /** `arrivalMs`: of `performance.now()`. */
  track(request: TrackedRequest, arrivalMs: number): RequestTimer {
    return this.#series === null ? noTimer : new Timer(this.#series, request, arrivalMs);
  }

  /** A request was refused because the queue was full. */
  rejected(): void {
    this.#series?.rejected.add(1);
  }

  /** Of all requests up to now: the latencies that people feel. */
  latencies(): { readonly firstToken: HistogramTotals; readonly interToken: HistogramTotals } | null {
    if (this.#series === null) return null;
    const { firstToken, interToken } = this.#series;
    return { firstToken: this.#registry.totals(firstToken), interToken: this.#registry.totals(interToken) };
  }

  exposition(): { contentType: string; text: string } {
    return { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: this.#registry.exposition() };
  }
}

/** The clock of one request. A request with n choices counts once for its times and n times for what its choices did, as in vLLM. */
class Timer implements RequestTimer {
  readonly #series: Series;
  readonly #request: TrackedRequest;
  readonly #arrivalMs: number;
  readonly #submitMs = performance.now();
  /** [n * 3] of each choice the time of its latest tokens, 0 for none yet, the time of its first, and how many. One list, as each is read anew
   *  from memory for every token where thousands stream. */
  readonly #choices: number[];
  #scheduledMs = 0; // start of its first step
  #unfinished: number;

  constructor(series: Series, request: TrackedRequest, arrivalMs: number) {
    this.#series = series;
    this.#request = request;
    this.#arrivalMs = arrivalMs;
    const { n } = request.sampling;
    this.#choices = new Array<number>(3 * n).fill(0);
    this.#unfinished = n;
    series.paramsN.observe(n);
  }

  prompt(cachedTokens: number, queueMs: number): void {
    this.#scheduledMs = this.#submitMs + queueMs;
    this.#series.queue.observe(queueMs / 1000);
    this.#series.prefillComputed.observe(this.#request.promptTokens.length - cachedTokens);
  }

  warm(): number {
    return this.#choices[0]!;
  }

  tokens(choice: number, count: number, finishReason: string | null): void {
    const now = performance.now();
    const choices = this.#choices;
    const last = choices[3 * choice]!;
    if (count > 0) {
      if (last === 0) {
        this.#series.firstToken.observe((now - this.#arrivalMs) / 1000);
        choices[3 * choice + 1] = now;
      } else {
        this.#series.interToken.observe((now - last) / 1000);
      }
      choices[3 * choice] = now;
      choices[3 * choice + 2]! += count;
    }
    if (finishReason !== null) this.#finish(choice, finishReason, now);
  }

  #finish(choice: number, finishReason: string, now: number): void {
    this.#unfinished--;
    const series = this.#series;
    const request = this.#request;
    const [lastMs, firstMs, count] = this.#choices.slice(3 * choice) as [number, number, number];
    const decodeSeconds = (lastMs - firstMs) / 1000;
    this.#ended(finishReason).add(1);
    series.endToEnd.observe((now - this.#arrivalMs) / 1000);
    series.decode.observe(decodeSeconds);
    if (count > 0) {
      series.prefill.observe(Math.max(0, firstMs - this.#scheduledMs) / 1000);
      series.inference.observe(Math.max(0, lastMs - this.#scheduledMs) / 1000);
    }
    series.promptTokens.observe(request.promptTokens.length);
    series.generationTokens.observe(count);
    series.maxGenerationTokens.observe(request.stop.maxTokens);
    series.paramsMaxTokens.observe(request.stop.maxTokens);
    if (count > 1) series.perToken.observe(decodeSeconds / (count - 1));
  }

  #ended(reason: string): Counter {
    return this.#series.success[Math.max(0, (finishReasons as readonly string[]).indexOf(reason))]!;
  }

  times(): RequestTimes {
    const [lastMs, firstMs, numTokens] = this.#choices as [number, number, number];
    const scheduledMs = this.#scheduledMs;
    return { queueMs: scheduledMs - this.#submitMs, scheduledMs, firstMs, lastMs, numTokens };
  }

  /** What has not finished by now was aborted. */
  closed(): void {
    if (this.#unfinished > 0) this.#ended('abort').add(this.#unfinished);
    this.#unfinished = 0;
  }
}
