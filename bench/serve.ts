/**
 * Loads a running server and measures it, with the flags, figures and definitions of `vllm bench serve`. Works against any
 * OpenAI-compatible server; random prompts and text lengths also need its /tokenize.
 */
import { performance } from 'node:perf_hooks';
import { arrivalTimes } from './arrivals.js';
import { type Codec, customPrompts, type Prompt, randomPrompts, shareGptPrompts } from './datasets.js';
import { type CountedResult, type Figures, figuresOf, type Objectives } from './figures.js';
import { createRandom, type Random } from './random.js';
import { type Endpoint, type RequestResult, readResult, sendJson, streamRequest } from './stream-client.js';

export interface BenchServeSettings {
  readonly backend: 'openai' | 'vllm' | 'openai-chat';
  /** http://host:port, without /v1 */
  readonly baseUrl: string;
  readonly endpoint: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** null: the first that the server names. */
  readonly model: string | null;
  readonly dataset:
    | {
        readonly name: 'random';
        readonly inputLen: number;
        readonly outputLen: number;
        readonly rangeRatio: number;
        readonly prefixLen: number;
      }
    | { readonly name: 'sharegpt'; readonly path: string; readonly outputLen: number | null }
    | { readonly name: 'custom'; readonly path: string; readonly outputLen: number };
  readonly numPrompts: number;
  /** Requests a second; Infinity: all at once. */
  readonly requestRate: number;
  readonly burstiness: number;
  /** null: no bound. */
  readonly maxConcurrency: number | null;
  readonly numWarmups: number;
  /** Added to every body: sampling parameters, ignore_eos, … */
  readonly extraBody: Readonly<Record<string, unknown>>;
  readonly percentiles: readonly number[];
  readonly objectives: Objectives;
  readonly seed: number;
  readonly timeoutMs: number;
  /** Told after every request; for a progress line. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface BenchServeOutcome {
  readonly model: string;
  readonly figures: Figures;
  /** In the order of the prompts. */
  readonly results: readonly RequestResult[];
}

/** Answers are read when the run is over, but for those of a run so long that they would fill the memory. */
const unreadBytesMax = 1 << 28;

export async function benchServe(settings: BenchServeSettings): Promise<BenchServeOutcome> {
  const at = (path: string): Endpoint => ({
    url: new URL(settings.baseUrl + path),
    headers: settings.headers,
    timeoutMs: settings.timeoutMs,
  });
  const model = settings.model ?? (await firstModel(at('/v1/models')));
  const isChat = settings.backend === 'openai-chat';
  const endpoint = at(settings.endpoint ?? (isChat ? '/v1/chat/completions' : '/v1/completions'));
  const codec = serverCodec(at);
  const random = createRandom(settings.seed);
  // Warm-ups ask with one prompt more, that the run does not have: it would find a part of it in the server's prefix cache.
  const [warmup, ...prompts] = await readPrompts({ ...settings, numPrompts: settings.numPrompts + 1 }, isChat, codec, random);
  const bodies = prompts.map((prompt) => bodyOf(prompt, model, isChat, settings.extraBody));
  const ask = (index: number) => streamRequest(endpoint, bodies[index] ?? '');

  const warmupBody = warmup === undefined ? '' : bodyOf(warmup, model, isChat, settings.extraBody);
  await inTurn(settings.numWarmups, settings.maxConcurrency ?? settings.numWarmups, null, () => streamRequest(endpoint, warmupBody));
  const times = arrivalTimes(prompts.length, settings.requestRate, settings.burstiness, random);
  let done = 0;
  let unreadBytes = 0;
  const startMs = performance.now();
  const answers = await inTurn(prompts.length, settings.maxConcurrency ?? prompts.length, times, async (index) => {
    const answer = await ask(index);
    settings.onProgress?.(++done, prompts.length);
    if (answer.body instanceof Error || unreadBytes > unreadBytesMax) return readResult(answer);
    unreadBytes += answer.body.bytes.length;
    return answer;
  });
  const durationS = (performance.now() - startMs) / 1000;
  const results = answers.map((answer) => ('body' in answer ? readResult(answer) : answer));
  const counted = await countTokens(results, prompts, codec);
  const figures = figuresOf(counted, results.length - counted.length, durationS, settings.percentiles, settings.objectives);
  return { model, figures, results };
}

async function firstModel(endpoint: Endpoint): Promise<string> {
  const { data } = (await sendJson(endpoint, 'GET', null)) as { data?: readonly { readonly id: string }[] };
  const [model] = data ?? [];
  if (!model) throw new Error('the server names no model; --model does');
  return model.id;
}

/** vLLM and Lockstep take {prompt}, llama.cpp's server takes {content} and ignores the other. */
function serverCodec(at: (path: string) => Endpoint): Codec {
  return {
    encode: async (text) => {
      const first = (await sendJson(at('/tokenize'), 'POST', { prompt: text, add_special_tokens: false })) as { tokens: number[] };
      if (first.tokens.length > 0 || text === '') return first.tokens;
      const second = (await sendJson(at('/tokenize'), 'POST', { content: text })) as { tokens: number[] };
      return second.tokens;
    },
    decode: async (tokens) => {
      const answer = (await sendJson(at('/detokenize'), 'POST', { tokens })) as { prompt?: string; content?: string };
      return answer.prompt ?? answer.content ?? '';
    },
  };
}

async function readPrompts({ dataset, numPrompts }: BenchServeSettings, isChat: boolean, codec: Codec, random: Random): Promise<Prompt[]> {
  if (dataset.name === 'random') return randomPrompts(numPrompts, dataset, isChat, codec, random);
  if (dataset.name === 'sharegpt') return shareGptPrompts(dataset.path, numPrompts, dataset.outputLen, codec, random);
  return customPrompts(dataset.path, numPrompts, dataset.outputLen, random);
}

function bodyOf({ prompt, outputLen }: Prompt, model: string, isChat: boolean, extra: Readonly<Record<string, unknown>>): string {
  const asked = isChat
    ? { messages: [{ role: 'user', content: prompt }], max_completion_tokens: outputLen }
    : { prompt, max_tokens: outputLen };
  return JSON.stringify({ model, ...asked, stream: true, stream_options: { include_usage: true }, ...extra });
}

/** Runs task(0) … task(count-1), each from its time on (seconds after now; null: at once), at most `limit` together. */
export async function inTurn<T>(
  count: number,
  limit: number,
  times: Float64Array | null,
  task: (index: number) => Promise<T>,
): Promise<T[]> {
  const results = new Array<T>(count);
  const startMs = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const index = next++;
      // A timer may fire a little early or late; what counts is that the mean rate holds, so each waits for its own time.
      const waitMs = (times?.[index] ?? 0) * 1000 - (performance.now() - startMs);
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      results[index] = await task(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, limit) }, worker));
  return results;
}

/** Requests that succeeded, with the server's counts; a server that sent none has its text counted by its own /tokenize. */
async function countTokens(results: readonly RequestResult[], prompts: readonly Prompt[], codec: Codec): Promise<CountedResult[]> {
  const counted: CountedResult[] = [];
  for (const [index, result] of results.entries()) {
    if (result.error !== null) continue;
    const inputLen = result.promptTokens ?? prompts[index]?.promptLen ?? 0;
    const outputLen = result.outputTokens ?? (await codec.encode(result.text)).length;
    counted.push({ ...result, inputLen, outputLen });
  }
  return counted;
}
