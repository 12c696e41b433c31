/** `lockstep bench serve`: flags -> settings, the run, the report. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Metric, metricNames, type Objectives } from '../../bench/figures.js';
import { type BenchServeOutcome, type BenchServeSettings, benchServe } from '../../bench/serve.js';
import { formatFigures, resultFileName, resultRecord } from '../../bench/serve-report.js';
import { startError } from '../errors.js';
import type { BenchServeOptions } from './bench-options.js';

export async function runBenchServe(
  options: BenchServeOptions,
  output: NodeJS.WritableStream,
  progress: NodeJS.WriteStream,
): Promise<void> {
  const metrics = byComma(options.percentileMetrics).map((name) => metricOf(name, '--percentile-metrics'));
  const settings = { ...settingsOf(options), ...(progress.isTTY && !options.disableTqdm ? { onProgress: progressLine(progress) } : {}) };
  let outcome: BenchServeOutcome;
  try {
    outcome = await benchServe(settings);
  } catch (error) {
    throw startError(`${settings.baseUrl}: ${(error as Error).message}`, { cause: error });
  }
  output.write(`${formatFigures(outcome.figures, settings, metrics)}\n`);
  const errors = outcome.results.map((result) => result.error).filter((error) => error !== null);
  for (const error of errors.slice(0, errorsShownMax)) output.write(`failed: ${error}\n`);
  if (options.saveResult || options.saveDetailed || options.appendResult) save(options, settings, outcome, metrics);
  if (outcome.figures.completed === 0) process.exitCode = 1;
}

const errorsShownMax = 10;

/** Throws LockstepError `start` for flags that do not fit together. */
export function settingsOf(options: BenchServeOptions): BenchServeSettings {
  return {
    backend: options.backend,
    baseUrl: (options.baseUrl ?? `http://${options.host}:${options.port}`).replace(/\/+$/, ''),
    endpoint: options.endpoint,
    headers: headersOf(options),
    model: options.model,
    dataset: datasetOf(options),
    numPrompts: options.numPrompts,
    requestRate: options.requestRate,
    burstiness: options.burstiness,
    maxConcurrency: options.maxConcurrency,
    numWarmups: options.numWarmups,
    extraBody: bodyOf(options),
    percentiles: byComma(options.metricPercentiles).map(percentileOf),
    objectives: objectivesOf(options.goodput),
    seed: options.seed,
    timeoutMs: options.requestTimeout * 1000,
  };
}

function headersOf({ apiKey, header }: BenchServeOptions): Record<string, string> {
  const named = header.map((text) => pairOf(text, '=', '--header'));
  return { ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }), ...Object.fromEntries(named) };
}

function datasetOf(options: BenchServeOptions): BenchServeSettings['dataset'] {
  const { datasetName: name, datasetPath: path, outputLen } = options;
  if (name === 'random') {
    const { inputLen, randomInputLen, randomOutputLen, randomRangeRatio: rangeRatio, randomPrefixLen: prefixLen } = options;
    return { name, inputLen: inputLen ?? randomInputLen, outputLen: outputLen ?? randomOutputLen, rangeRatio, prefixLen };
  }
  if (path === null) throw startError(`--dataset-name ${name} needs --dataset-path FILE`, { param: 'dataset-path' });
  return name === 'sharegpt' ? { name, path, outputLen } : { name, path, outputLen: outputLen ?? options.customOutputLen };
}

/** Unset parameters are left out: the server's defaults hold. */
function bodyOf(options: BenchServeOptions): Record<string, unknown> {
  const asked: Record<string, unknown> = {
    ignore_eos: options.ignoreEos || options.datasetName === 'random' ? true : null,
    temperature: options.temperature,
    top_p: options.topP,
    top_k: options.topK,
    min_p: options.minP,
    presence_penalty: options.presencePenalty,
    frequency_penalty: options.frequencyPenalty,
    repetition_penalty: options.repetitionPenalty,
    ...(options.backend === 'openai-chat' && options.logprobs !== null
      ? { logprobs: true, top_logprobs: options.logprobs }
      : { logprobs: options.logprobs }),
  };
  const given = Object.entries(asked).filter(([, value]) => value !== null);
  return { ...Object.fromEntries(given), ...options.extraBody };
}

/** `vllm bench serve` writes these lists as one word with commas. */
const byComma = (words: readonly string[]) => words.flatMap((word) => word.split(','));

function pairOf(text: string, separator: string, flag: string): readonly [string, string] {
  const at = text.indexOf(separator);
  if (at < 1) throw startError(`${flag} must be NAME${separator}VALUE, not '${text}'`, { param: flag.slice(2) });
  return [text.slice(0, at), text.slice(at + separator.length)];
}

function metricOf(name: string, flag: string): Metric {
  const metric = metricNames.find((known) => known === name);
  if (!metric) throw startError(`${flag} must be of ${metricNames.join(', ')}, not '${name}'`, { param: flag.slice(2) });
  return metric;
}

function percentileOf(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 100) return value;
  throw startError(`--metric-percentiles must be numbers from 0 to 100, not '${text}'`, { param: 'metric-percentiles' });
}

function objectivesOf(goodput: readonly string[]): Objectives {
  const pairs = goodput.map((text) => {
    const [name, limit] = pairOf(text, ':', '--goodput');
    const metric = metricOf(name, '--goodput');
    if (metric === 'itl' || !(Number(limit) >= 0)) throw startError(`--goodput takes ttft, tpot or e2el and milliseconds, not '${text}'`);
    return [metric, Number(limit)] as const;
  });
  return Object.fromEntries(pairs);
}

function save(options: BenchServeOptions, settings: BenchServeSettings, outcome: BenchServeOutcome, metrics: readonly Metric[]): void {
  const date = new Date();
  const record = {
    ...resultRecord(outcome, settings, metrics, options.saveDetailed, date),
    ...Object.fromEntries(options.metadata.map((text) => pairOf(text, '=', '--metadata'))),
  };
  mkdirSync(options.resultDir, { recursive: true });
  const path = join(options.resultDir, options.resultFilename ?? resultFileName(outcome, settings, date));
  if (options.appendResult) appendFileSync(path, `${JSON.stringify(record)}\n`);
  else writeFileSync(path, `${JSON.stringify(record)}\n`);
}

const progressIntervalMs = 200;

function progressLine(stream: NodeJS.WriteStream): (done: number, total: number) => void {
  let writtenAt = 0;
  return (done, total) => {
    const now = Date.now();
    if (done < total && now - writtenAt < progressIntervalMs) return;
    writtenAt = now;
    stream.write(`\r${done}/${total} requests${done === total ? '\n' : ''}`);
  };
}
