/** The flags of `lockstep bench serve` and `lockstep bench throughput`, with names, defaults and meanings of `vllm bench`, and of `lockstep bench perplexity`. */
import type { Flag, OptionsOf } from './flag.js';
import type { CommandTable } from './load-options.js';
import { engineFlags } from './options.js';

const target = 'Server';
const dataset = 'Requests';
const load = 'Load';
const sampling = 'Sampling';
const report = 'Report';

// biome-ignore format: a row a flag
const datasetFlags = [
  { name: 'dataset-name', type: 'string', default: 'random', choices: ['random', 'sharegpt', 'custom'], group: dataset,
    help: 'random tokens; a file in the form of ShareGPT; lines {"prompt": …, "output_tokens": …}' },
  { name: 'dataset-path', type: 'string', default: null, group: dataset, value: 'FILE', help: 'file of sharegpt and custom' },
  { name: 'num-prompts', type: 'int', default: 1000, min: 1, max: 10_000_000, group: dataset, value: 'N', help: 'number of requests' },
  { name: 'input-len', type: 'int', default: null, min: 1, group: dataset, value: 'TOKENS', help: 'short for --random-input-len' },
  { name: 'output-len', type: 'int', default: null, min: 1, group: dataset, value: 'TOKENS',
    help: 'output length whatever the dataset. Unset: that of the dataset' },
  { name: 'random-input-len', type: 'int', default: 1024, min: 1, group: dataset, value: 'TOKENS', help: 'prompt length of random' },
  { name: 'random-output-len', type: 'int', default: 128, min: 1, group: dataset, value: 'TOKENS', help: 'output length of random' },
  { name: 'random-range-ratio', type: 'number', default: 0, min: 0, max: 1, group: dataset, value: 'RATIO',
    help: 'lengths of random vary by this share up and down' },
  { name: 'random-prefix-len', type: 'int', default: 0, min: 0, group: dataset, value: 'TOKENS', help: 'tokens that all random prompts begin with' },
  { name: 'custom-output-len', type: 'int', default: 256, min: 1, group: dataset, value: 'TOKENS', help: 'output length of custom lines that name none' },
] as const satisfies readonly Flag[];

// biome-ignore format: a row a flag
export const benchServeFlags = [
  { name: 'backend', type: 'string', default: 'openai', choices: ['openai', 'vllm', 'openai-chat'], group: target,
    help: 'openai and vllm: /v1/completions; openai-chat: /v1/chat/completions' },
  { name: 'base-url', type: 'string', default: null, group: target, value: 'URL', help: 'server, without /v1. Unset: http://HOST:PORT' },
  { name: 'host', type: 'string', default: '127.0.0.1', group: target, help: 'host of the server' },
  { name: 'port', type: 'int', default: 8000, min: 1, max: 65535, group: target, help: 'port of the server' },
  { name: 'endpoint', type: 'string', default: null, group: target, value: 'PATH', help: "route. Unset: the backend's" },
  { name: 'model', type: 'string', default: null, group: target, value: 'NAME', help: 'model to ask for. Unset: the first that the server names' },
  { name: 'api-key', type: 'string', default: null, group: target, value: 'KEY', variables: ['OPENAI_API_KEY', 'LOCKSTEP_API_KEY', 'VLLM_API_KEY'],
    help: 'key that the server asks for' },
  { name: 'header', type: 'list', default: [], group: target, value: 'NAME=VALUE', help: 'header that every request carries' },
  { name: 'request-timeout', type: 'number', default: 600, min: 1, max: 86400, group: target, value: 'SECONDS',
    help: 'a request without data for so long has failed' },
  ...datasetFlags,
  { name: 'seed', type: 'int', default: 0, min: 0, group: dataset, help: 'seed of prompts and arrival times' },
  { name: 'request-rate', type: 'number', default: Infinity, min: 1e-6, group: load, value: 'RPS', help: 'requests a second; inf: all at once' },
  { name: 'burstiness', type: 'number', default: 1, min: 1e-3, group: load, help: 'shape of the gamma distributed gaps; 1: a Poisson process, less: burstier' },
  { name: 'max-concurrency', type: 'int', default: null, min: 1, group: load, value: 'N', help: 'most requests in flight. Unset: no bound' },
  { name: 'num-warmups', type: 'int', default: 0, min: 0, group: load, value: 'N', help: 'requests before the clock starts' },
  { name: 'ignore-eos', type: 'boolean', default: false, group: sampling, help: 'go on after the end of sequence; always with random' },
  { name: 'temperature', type: 'number', default: null, min: 0, group: sampling, help: "temperature. Unset: the server's default, and so for the others" },
  { name: 'top-p', type: 'number', default: null, min: 0, max: 1, group: sampling, help: 'top_p' },
  { name: 'top-k', type: 'int', default: null, min: -1, group: sampling, help: 'top_k' },
  { name: 'min-p', type: 'number', default: null, min: 0, max: 1, group: sampling, help: 'min_p' },
  { name: 'presence-penalty', type: 'number', default: null, group: sampling, help: 'presence_penalty' },
  { name: 'frequency-penalty', type: 'number', default: null, group: sampling, help: 'frequency_penalty' },
  { name: 'repetition-penalty', type: 'number', default: null, group: sampling, help: 'repetition_penalty' },
  { name: 'logprobs', type: 'int', default: null, min: 0, group: sampling, value: 'K', help: 'log-probabilities of so many candidates a token' },
  { name: 'extra-body', type: 'json', default: {}, group: sampling, value: 'JSON', help: 'fields added to every request' },
  { name: 'percentile-metrics', type: 'list', default: ['ttft', 'tpot', 'itl'], group: report, value: 'METRIC', help: 'which of ttft, tpot, itl, e2el to report' },
  { name: 'metric-percentiles', type: 'list', default: ['99'], group: report, value: 'P', help: 'percentiles to report' },
  { name: 'goodput', type: 'list', default: [], group: report, value: 'METRIC:MS', help: 'objectives, as ttft:200 tpot:50; counts the requests that meet all' },
  { name: 'save-result', type: 'boolean', default: false, group: report, help: 'write the figures as JSON' },
  { name: 'save-detailed', type: 'boolean', default: false, group: report, help: 'with the times and texts of every request' },
  { name: 'append-result', type: 'boolean', default: false, group: report, help: 'add a line to the file instead of writing it anew' },
  { name: 'result-dir', type: 'string', default: '.', group: report, value: 'FOLDER', help: 'where to write it' },
  { name: 'result-filename', type: 'string', default: null, group: report, value: 'FILE', help: 'its name. Unset: backend, rate, model and date' },
  { name: 'metadata', type: 'list', default: [], group: report, value: 'KEY=VALUE', help: 'more keys of the JSON' },
  { name: 'disable-tqdm', type: 'boolean', default: false, group: report, help: 'no progress line' },
] as const satisfies readonly Flag[];

export type BenchServeOptions = OptionsOf<typeof benchServeFlags>;

// biome-ignore format: a row a flag
export const benchThroughputFlags = [
  ...engineFlags,
  ...datasetFlags,
  { name: 'n', type: 'int', default: 1, min: 1, max: 128, group: sampling, help: 'choices of each request' },
  { name: 'temperature', type: 'number', default: 1, min: 0, max: 2, group: sampling, help: 'temperature' },
  { name: 'output-json', type: 'string', default: null, group: report, value: 'FILE', help: 'write the figures as JSON' },
] as const satisfies readonly Flag[];

export type BenchThroughputOptions = OptionsOf<typeof benchThroughputFlags>;

// biome-ignore format: a row a flag
export const benchPerplexityFlags = [
  ...engineFlags,
  { name: 'text', type: 'string', default: null, group: dataset, value: 'FILE', help: 'text to score. Unset: bench/perplexity.txt of the package' },
  { name: 'window', type: 'int', default: 384, min: 2, max: 1_000_000, group: dataset, value: 'TOKENS', help: 'tokens that are scored together, without those before them' },
  { name: 'compare', type: 'list', default: [], group: report, value: 'WHAT',
    help: 'further rows of the table: int8 or int4 (--quantization of MODEL), or another model' },
] as const satisfies readonly Flag[];

export type BenchPerplexityOptions = OptionsOf<typeof benchPerplexityFlags>;

export const benchPerplexityCommand = {
  name: 'bench perplexity',
  summary: 'perplexity of a text by weight format',
  flags: benchPerplexityFlags,
  positional: 'model',
  isConfigurable: false,
} as const satisfies CommandTable;

export const benchThroughputCommand = {
  name: 'bench throughput',
  summary: 'offline throughput of the engine, without HTTP',
  flags: benchThroughputFlags,
  positional: 'model',
  isConfigurable: false,
} as const satisfies CommandTable;

export const benchServeCommand = {
  name: 'bench serve',
  summary: 'load a running server and print the figures of `vllm bench serve`',
  flags: benchServeFlags,
  isConfigurable: false,
} as const satisfies CommandTable;
