/**
 * What /metrics shows, under vLLM's names, so that its dashboards and routers find them: gauges and counters of the engine, read when
 * asked for, and histograms of requests, measured on the thread that answers them.
 *
 * Times are of the frontend's clock: arrival is the start of reading the request.
 */
import { createRequire } from 'node:module';
import type * as PromClient from 'prom-client';

// The parts by themselves, 3 ms: the whole package takes 40, most of it for a gateway and for default metrics that are not used here.
const part = createRequire(import.meta.url);
const Registry = part('prom-client/lib/registry.js') as typeof PromClient.Registry;
const Counter = part('prom-client/lib/counter.js') as typeof PromClient.Counter;
const Gauge = part('prom-client/lib/gauge.js') as typeof PromClient.Gauge;
const Histogram = part('prom-client/lib/histogram.js') as typeof PromClient.Histogram;

/** What is read of the engine; the engine's client gives it. */
export interface EngineCounterSource {
  counters(): {
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
  };
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
  closed(): void;
}

const labels = ['model_name', 'engine'] as const;
type Label = (typeof labels)[number];
type EngineFigures = ReturnType<EngineCounterSource['counters']>;

const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const tokenBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const latencyBuckets = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];

/** 1, 2, 5, 10, … up to the longest sequence. */
export function tokenCountBuckets(max: number): number[] {
  const buckets: number[] = [];
  for (let decade = 1; ; decade *= 10) {
    for (const step of [1, 2, 5]) {
      if (step * decade > max) return buckets;
      buckets.push(step * decade);
    }
  }
}

/** The series of one model. Made when the model is known, since buckets depend on its length. */
function createSeries(registry: PromClient.Registry, maxModelLen: number) {
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram<Label>({ name: `vllm:${name}`, help, labelNames: labels, buckets, registers: [registry] });
  const lengths = tokenCountBuckets(maxModelLen);
  return {
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
    firstToken: histogram('time_to_first_token_seconds', 'Histogram of time to first token in seconds.', firstTokenBuckets),
    interToken: histogram('inter_token_latency_seconds', 'Histogram of inter-token latency in seconds.', tokenBuckets),
    perToken: histogram('request_time_per_output_token_seconds', 'Histogram of time_per_output_token_seconds per request.', tokenBuckets),
    endToEnd: histogram('e2e_request_latency_seconds', 'Histogram of e2e request latency in seconds.', latencyBuckets),
    queue: histogram('request_queue_time_seconds', 'Histogram of time spent in WAITING phase for request.', latencyBuckets),
    prefill: histogram('request_prefill_time_seconds', 'Histogram of time spent in PREFILL phase for request.', latencyBuckets),
    inference: histogram('request_inference_time_seconds', 'Histogram of time spent in RUNNING phase for request.', latencyBuckets),
    decode: histogram('request_decode_time_seconds', 'Histogram of time spent in DECODE phase for request.', latencyBuckets),
  };
}

type Series = ReturnType<typeof createSeries>;
const finishReasons = ['stop', 'length', 'repetition', 'abort', 'error'] as const;

export class Metrics {
  readonly #registry = new Registry();
  #series: Series | null = null;
  #success: PromClient.Counter<Label | 'finished_reason'> | null = null;
  #values: Record<Label, string> = { model_name: '', engine: '0' };

  constructor() {
    addProcess(this.#registry);
  }

  /** Called once, when the model is ready. */
  setModel(name: string, engine: EngineCounterSource, maxModelLen: number, cacheConfig: Readonly<Record<string, string>>): void {
    this.#values = { model_name: name, engine: '0' };
    this.#registry.clear();
    addProcess(this.#registry);
    this.#addEngine(engine);
    this.#series = createSeries(this.#registry, maxModelLen);
    this.#success = new Counter({
      name: 'vllm:request_success_total',
      help: 'Count of successfully processed requests.',
      labelNames: [...labels, 'finished_reason'],
      registers: [this.#registry],
    });
    for (const finished_reason of finishReasons) this.#success.inc({ ...this.#values, finished_reason }, 0);
    const info = { ...cacheConfig, engine: '0' };
    new Gauge({
      name: 'vllm:cache_config_info',
      help: 'Information of the LLMEngine CacheConfig',
      labelNames: Object.keys(info),
      registers: [this.#registry],
    }).set(info, 1);
  }

  /** The engine counts for itself; its figures are fetched once a scrape. */
  #addEngine(engine: EngineCounterSource): void {
    const { model_name, engine: index } = this.#values;
    const registers = [this.#registry];
    let latest = engine.counters();
    type Read = (figures: EngineFigures) => number;
    type Parts = readonly (readonly [value: string, read: Read])[];
    /** `parts`: a series for each value of the label `by`; without, one series. */
    const labelled = (parts: Parts, by: string) =>
      parts.map(([value, read]) => ({ labels: { model_name, engine: index, ...(by === '' ? {} : { [by]: value }) }, read }));
    const gauge = (name: string, help: string, parts: Parts, by = '') => {
      const series = labelled(parts, by);
      const collect = function (this: PromClient.Gauge) {
        for (const { labels: values, read } of series) this.set(values, read(latest));
      };
      new Gauge({ name, help, labelNames: [...labels, ...(by === '' ? [] : [by])], registers, collect });
    };
    const counter = (name: string, help: string, parts: Parts, by = '') => {
      const series = labelled(parts, by);
      const collect = function (this: PromClient.Counter) {
        this.reset();
        for (const { labels: values, read } of series) this.inc(values, read(latest));
      };
      new Counter({ name: `${name}_total`, help, labelNames: [...labels, ...(by === '' ? [] : [by])], registers, collect });
    };
    const one = (read: Read): Parts => [['', read]];
    const fetchFirst: Read = () => {
      latest = engine.counters();
      return latest.running;
    };
    gauge('vllm:num_requests_running', 'Number of requests in model execution batches.', one(fetchFirst));
    gauge(
      'vllm:num_requests_waiting',
      'Number of requests waiting to be processed.',
      one((now) => now.waiting),
    );
    gauge(
      'vllm:num_requests_waiting_by_reason',
      'Number of waiting requests by reason.',
      [
        ['capacity', (now) => now.waiting],
        ['deferred', () => 0],
      ],
      'reason',
    );
    gauge(
      'vllm:kv_cache_usage_perc',
      'KV-cache usage. 1 means 100 percent usage.',
      one((now) => now.kvCacheUsage),
    );
    counter(
      'vllm:prefix_cache_queries',
      'Prefix cache queries, in terms of number of queried tokens.',
      one((now) => now.prefixCacheQueries),
    );
    counter(
      'vllm:prefix_cache_hits',
      'Prefix cache hits, in terms of number of cached tokens.',
      one((now) => now.prefixCacheHits),
    );
    counter(
      'vllm:num_preemptions',
      'Cumulative number of preemption from the engine.',
      one((now) => now.preemptions),
    );
    counter(
      'vllm:prompt_tokens',
      'Number of prefill tokens processed.',
      one((now) => now.promptTokens),
    );
    counter(
      'vllm:generation_tokens',
      'Number of generation tokens processed.',
      one((now) => now.generationTokens),
    );
    counter(
      'vllm:prompt_tokens_cached',
      'Number of cached prompt tokens (local + external).',
      one((now) => now.prefixCacheHits),
    );
    const computed: Read = (now) => Math.max(0, now.promptTokens - now.prefixCacheHits);
    const sources: Parts = [
      ['local_compute', computed],
      ['local_cache_hit', (now) => now.prefixCacheHits],
    ];
    counter('vllm:prompt_tokens_by_source', 'Number of prompt tokens by source.', sources, 'source');
    const positions = latest.specAcceptedPerPosition.map((_, i): Parts[number] => [String(i), (now) => now.specAcceptedPerPosition[i]!]);
    if (positions.length > 0) {
      counter(
        'vllm:spec_decode_num_drafts',
        'Number of spec decoding drafts.',
        one((now) => now.specDrafts),
      );
      counter(
        'vllm:spec_decode_num_draft_tokens',
        'Number of draft tokens.',
        one((now) => now.specDraftTokens),
      );
      counter(
        'vllm:spec_decode_num_accepted_tokens',
        'Number of accepted tokens.',
        one((now) => now.specAcceptedTokens),
      );
      counter('vllm:spec_decode_num_accepted_tokens_per_pos', 'Accepted tokens per draft position.', positions, 'position');
    }
    counter(
      'lockstep:engine_steps',
      'Number of engine steps.',
      one((now) => now.steps),
    );
    counter(
      'lockstep:engine_host_seconds',
      "Time of the engine's own work: plan, result, delivery.",
      one((now) => now.hostTimeUs / 1e6),
    );
  }

  /** `arrivalMs`: of `performance.now()`. */
  track(request: TrackedRequest, arrivalMs: number): RequestTimer {
    return this.#series === null || this.#success === null
      ? { prompt() {}, tokens() {}, closed() {} }
      : new Timer(this.#series, this.#success, this.#values, request, arrivalMs);
  }

  async exposition(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}

/** The process, under the names that every Prometheus client library uses. */
function addProcess(registry: PromClient.Registry): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  const startSeconds = Math.round(performance.timeOrigin) / 1000;
  gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss());
  gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', () => startSeconds);
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Total user and system CPU time spent in seconds.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}

/** The clock of one request. A request with n choices counts once for its times and n times for what its choices did, as in vLLM. */
class Timer implements RequestTimer {
  readonly #lastMs: Float64Array; // [n] time of a choice's latest tokens; 0: none yet
  readonly #firstMs: Float64Array; // [n]
  readonly #counts: Int32Array; // [n] tokens
  readonly #submitMs = performance.now();
  #scheduledMs = 0; // start of its first step
  #unfinished: number;

  constructor(
    private readonly series: Series,
    private readonly success: PromClient.Counter<Label | 'finished_reason'>,
    private readonly values: Record<Label, string>,
    private readonly request: TrackedRequest,
    private readonly arrivalMs: number,
  ) {
    const { n } = request.sampling;
    this.#lastMs = new Float64Array(n);
    this.#firstMs = new Float64Array(n);
    this.#counts = new Int32Array(n);
    this.#unfinished = n;
    series.paramsN.observe(values, n);
  }

  prompt(cachedTokens: number, queueMs: number): void {
    this.#scheduledMs = this.#submitMs + queueMs;
    this.series.queue.observe(this.values, queueMs / 1000);
    this.series.prefillComputed.observe(this.values, this.request.promptTokens.length - cachedTokens);
  }

  tokens(choice: number, count: number, finishReason: string | null): void {
    const now = performance.now();
    const last = this.#lastMs[choice]!;
    if (count > 0) {
      if (last === 0) {
        this.series.firstToken.observe(this.values, (now - this.arrivalMs) / 1000);
        this.#firstMs[choice] = now;
      } else {
        this.series.interToken.observe(this.values, (now - last) / 1000);
      }
      this.#lastMs[choice] = now;
      this.#counts[choice]! += count;
    }
    if (finishReason !== null) this.#finish(choice, finishReason, now);
  }

  #finish(choice: number, finishReason: string, now: number): void {
    this.#unfinished--;
    const { series, values, request } = this;
    const count = this.#counts[choice]!;
    const decodeSeconds = (this.#lastMs[choice]! - this.#firstMs[choice]!) / 1000;
    this.success.inc({ ...values, finished_reason: finishReason }, 1);
    series.endToEnd.observe(values, (now - this.arrivalMs) / 1000);
    series.decode.observe(values, decodeSeconds);
    if (count > 0) {
      series.prefill.observe(values, Math.max(0, this.#firstMs[choice]! - this.#scheduledMs) / 1000);
      series.inference.observe(values, Math.max(0, this.#lastMs[choice]! - this.#scheduledMs) / 1000);
    }
    series.promptTokens.observe(values, request.promptTokens.length);
    series.generationTokens.observe(values, count);
    series.maxGenerationTokens.observe(values, request.stop.maxTokens);
    series.paramsMaxTokens.observe(values, request.stop.maxTokens);
    if (count > 1) series.perToken.observe(values, decodeSeconds / (count - 1));
  }

  /** What has not finished by now was aborted. */
  closed(): void {
    if (this.#unfinished > 0) this.success.inc({ ...this.values, finished_reason: 'abort' }, this.#unfinished);
    this.#unfinished = 0;
  }
}
