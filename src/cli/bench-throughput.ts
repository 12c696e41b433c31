/** `lockstep bench throughput`: flags -> engine and prompts, the run, the report. */
import { writeFileSync } from 'node:fs';
import { type Codec, customPrompts, type Prompt, randomPrompts, shareGptPrompts } from '../../bench/datasets.js';
import { createRandom } from '../../bench/random.js';
import { measureThroughput, type ThroughputFigures } from '../../bench/throughput.js';
import type { EngineClient } from '../engine/client.js';
import { startError } from '../errors.js';
import type { WeightMap } from '../model/spec.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { BenchThroughputOptions } from './bench-options.js';
import { checkEngineOptions, type EngineOptions } from './options.js';

/** An engine that takes requests, and what prompts are made with. */
export interface OfflineEngine {
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  /** Longest sequence, prompt and output. */
  readonly maxModelLen: number;
  readonly weights: WeightMap;
  stop(): Promise<void>;
}

/** Less than the engine's queue takes (`--max-num-queued-reqs`), more than any step can use. */
const requestsInFlightMax = 2048;

export async function runBenchThroughput(
  options: BenchThroughputOptions,
  startEngine: (options: EngineOptions) => Promise<OfflineEngine>,
  output: NodeJS.WritableStream,
): Promise<void> {
  checkEngineOptions(options);
  const engine = await startEngine(options);
  try {
    const prompts = await readPrompts(options, engine.tokenizer);
    checkLengths(prompts, engine.maxModelLen);
    const { n, temperature } = options;
    const seed = options.seed ?? 0;
    const figures = await measureThroughput(engine.client, prompts, { n, temperature, seed, maxInFlight: requestsInFlightMax });
    output.write(formatThroughput(figures));
    if (options.outputJson !== null) writeFileSync(options.outputJson, `${JSON.stringify(resultRecord(figures), null, 1)}\n`);
  } finally {
    await engine.stop();
  }
}

async function readPrompts(options: BenchThroughputOptions, tokenizer: Tokenizer): Promise<readonly Prompt[]> {
  const { datasetName: name, datasetPath: path, numPrompts, outputLen } = options;
  const codec: Codec = {
    encode: async (text) => Array.from(await tokenizer.encode(text, { addSpecialTokens: false })),
    decode: async (ids) => tokenizer.decode(ids, { skipSpecialTokens: false }),
  };
  const random = createRandom(options.seed ?? 0);
  if (name === 'random') {
    const { inputLen, randomInputLen, randomOutputLen, randomRangeRatio: rangeRatio, randomPrefixLen: prefixLen } = options;
    const shape = { inputLen: inputLen ?? randomInputLen, outputLen: outputLen ?? randomOutputLen, rangeRatio, prefixLen };
    return randomPrompts(numPrompts, shape, false, codec, random);
  }
  if (path === null) throw startError(`--dataset-name ${name} needs --dataset-path FILE`, { param: 'dataset-path' });
  const prompts =
    name === 'sharegpt'
      ? await shareGptPrompts(path, numPrompts, outputLen, codec, random)
      : customPrompts(path, numPrompts, outputLen ?? options.customOutputLen, random);
  return Promise.all(
    prompts.map(async (prompt) => ({
      ...prompt,
      prompt: typeof prompt.prompt === 'string' ? await codec.encode(prompt.prompt) : prompt.prompt,
    })),
  );
}

function checkLengths(prompts: readonly Prompt[], maxModelLen: number): void {
  const longest = prompts.reduce((most, { prompt, outputLen }) => Math.max(most, prompt.length + outputLen), 0);
  if (longest <= maxModelLen) return;
  throw startError(
    `a request of ${longest} tokens, prompt and output, does not fit into ${maxModelLen}; --input-len and --output-len shorten it`,
  );
}

function formatThroughput(figures: ThroughputFigures): string {
  const { requestsPerS, tokensPerS, outputTokensPerS, promptTokens, outputTokens } = figures;
  return `Throughput: ${requestsPerS.toFixed(2)} requests/s, ${tokensPerS.toFixed(2)} total tokens/s, ${outputTokensPerS.toFixed(2)} output tokens/s
Total num prompt tokens:  ${promptTokens}
Total num output tokens:  ${outputTokens}
`;
}

/** The keys of `vllm bench throughput --output-json`. */
function resultRecord({ durationS, numRequests, promptTokens, outputTokens, requestsPerS, tokensPerS }: ThroughputFigures) {
  return {
    elapsed_time: durationS,
    num_requests: numRequests,
    total_num_tokens: promptTokens + outputTokens,
    requests_per_second: requestsPerS,
    tokens_per_second: tokensPerS,
  };
}
