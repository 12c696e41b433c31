/** The report of `lockstep bench serve`: the table that is printed and the JSON that is saved, with the keys of `vllm bench serve`. */
import type { Figures, Metric, Spread } from './figures.js';
import type { BenchServeOutcome, BenchServeSettings } from './serve.js';

const titles: Readonly<Record<Metric, readonly [title: string, short: string]>> = {
  ttft: ['Time to First Token', 'TTFT'],
  tpot: ['Time per Output Token (excl. 1st token)', 'TPOT'],
  itl: ['Inter-token Latency', 'ITL'],
  e2el: ['End-to-end Latency', 'E2EL'],
};
const width = 50;
const labelWidth = 41;

const line = (label: string, value: number, digits = 2) => `${label.padEnd(labelWidth)}${value.toFixed(digits)}`;
function heading(text: string, filler: string): string {
  const left = Math.floor((width - text.length) / 2);
  return filler.repeat(Math.max(0, left)) + text + filler.repeat(Math.max(0, width - left - text.length));
}

function spreadLines(metric: Metric, spread: Spread): string[] {
  const [title, short] = titles[metric];
  return [
    heading(title, '-'),
    line(`Mean ${short} (ms):`, spread.mean),
    line(`Median ${short} (ms):`, spread.median),
    ...spread.percentiles.map(([p, value]) => line(`P${p} ${short} (ms):`, value)),
  ];
}

export function formatFigures(figures: Figures, settings: BenchServeSettings, metrics: readonly Metric[]): string {
  const { maxConcurrency, requestRate } = settings;
  return [
    heading(' Serving Benchmark Result ', '='),
    line('Successful requests:', figures.completed, 0),
    line('Failed requests:', figures.failed, 0),
    ...(maxConcurrency === null ? [] : [line('Maximum request concurrency:', maxConcurrency, 0)]),
    ...(requestRate === Infinity ? [] : [line('Request rate configured (RPS):', requestRate)]),
    line('Benchmark duration (s):', figures.durationS),
    line('Total input tokens:', figures.inputTokens, 0),
    line('Total generated tokens:', figures.outputTokens, 0),
    line('Request throughput (req/s):', figures.requestThroughput),
    ...(figures.requestGoodput === null ? [] : [line('Request goodput (req/s):', figures.requestGoodput)]),
    line('Output token throughput (tok/s):', figures.outputThroughput),
    line('Peak output token throughput (tok/s):', figures.maxOutputTokensPerS),
    line('Peak concurrent requests:', figures.maxConcurrentRequests),
    line('Total token throughput (tok/s):', figures.totalTokenThroughput),
    ...metrics.flatMap((metric) => spreadLines(metric, figures.spreads[metric])),
    '='.repeat(width),
  ].join('\n');
}

/** Seconds, as there. */
const seconds = (ms: number) => ms / 1000;

/** One run as an object of the keys that vLLM's result files have. `isDetailed`: the lists of single requests too. */
export function resultRecord(
  { model, figures, results }: BenchServeOutcome,
  settings: BenchServeSettings,
  metrics: readonly Metric[],
  isDetailed: boolean,
  date: Date,
): Record<string, unknown> {
  const spreads = metrics.flatMap((metric) => {
    const { mean, median, std, percentiles } = figures.spreads[metric];
    const named = percentiles.map(([p, value]) => [`p${p}_${metric}_ms`, value]);
    return [[`mean_${metric}_ms`, mean], [`median_${metric}_ms`, median], [`std_${metric}_ms`, std], ...named];
  });
  const details = {
    input_lens: results.map((r) => r.promptTokens ?? 0),
    output_lens: results.map((r) => r.outputTokens ?? 0),
    start_times: results.map((r) => seconds(r.startMs)),
    ttfts: results.map((r) => seconds(r.ttftMs)),
    itls: results.map((r) => r.itlMs.map(seconds)),
    generated_texts: results.map((r) => r.text),
    errors: results.map((r) => r.error ?? ''),
  };
  return {
    date: timestamp(date),
    backend: settings.backend,
    endpoint_type: settings.backend,
    model_id: model,
    tokenizer_id: model,
    num_prompts: settings.numPrompts,
    request_rate: settings.requestRate === Infinity ? 'inf' : settings.requestRate,
    burstiness: settings.burstiness,
    max_concurrency: settings.maxConcurrency,
    duration: figures.durationS,
    completed: figures.completed,
    failed: figures.failed,
    total_input_tokens: figures.inputTokens,
    total_output_tokens: figures.outputTokens,
    request_throughput: figures.requestThroughput,
    request_goodput: figures.requestGoodput,
    output_throughput: figures.outputThroughput,
    total_token_throughput: figures.totalTokenThroughput,
    max_output_tokens_per_s: figures.maxOutputTokensPerS,
    max_concurrent_requests: figures.maxConcurrentRequests,
    ...Object.fromEntries(spreads as [string, number][]),
    ...(isDetailed ? details : {}),
  };
}

/** 20261124-015533 */
export function timestamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}

/** openai-4.0qps-concurrency16-MODEL-20261124-015533.json */
export function resultFileName(outcome: BenchServeOutcome, settings: BenchServeSettings, date: Date): string {
  const rate = settings.requestRate === Infinity ? 'inf' : settings.requestRate;
  const concurrency = settings.maxConcurrency === null ? '' : `-concurrency${settings.maxConcurrency}`;
  const model = outcome.model.split('/').at(-1) ?? outcome.model;
  return `${settings.backend}-${rate}qps${concurrency}-${model}-${timestamp(date)}.json`;
}
