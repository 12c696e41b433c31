/** Offline throughput: requests straight to the engine, as fast as it takes them, without HTTP. Figures of `vllm bench throughput`. */
import { performance } from 'node:perf_hooks';
import type { EngineClient, RequestEvents } from '../src/engine/client.js';
import type { GenerationRequest } from '../src/engine/request.js';
import { endsByLength, neutralSampling } from '../src/sampling/params.js';
import type { Prompt } from './datasets.js';

export interface ThroughputSettings {
  /** Choices of each request. */
  readonly n: number;
  readonly temperature: number;
  readonly seed: number;
  /** Most requests given to the engine at once: its queue is bounded. */
  readonly maxInFlight: number;
}

export interface ThroughputFigures {
  readonly durationS: number;
  readonly numRequests: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly requestsPerS: number;
  /** Prompt and output. */
  readonly tokensPerS: number;
  readonly outputTokensPerS: number;
}

/** Runs all prompts (token ids) to their output lengths. Rejects when the engine refuses or a choice ends with an error. */
export async function measureThroughput(
  engine: EngineClient,
  prompts: readonly Prompt[],
  settings: ThroughputSettings,
): Promise<ThroughputFigures> {
  const requests = prompts.map((prompt, index) => requestOf(prompt, index, settings));
  let outputTokens = 0;
  const run = (request: GenerationRequest) =>
    new Promise<void>((resolve, reject) => {
      let failure: string | null = null;
      const events: RequestEvents = {
        prompt: () => {},
        tokens: ({ ids }) => {
          outputTokens += ids.length;
        },
        end: ({ error }) => {
          if (error !== null) failure = error.message;
        },
        closed: () => (failure === null ? resolve() : reject(new Error(`request ${request.id}: ${failure}`))),
      };
      engine.submit(request, events);
    });

  let next = 0;
  const startMs = performance.now();
  const worker = async () => {
    for (let request = requests[next++]; request !== undefined; request = requests[next++]) await run(request);
  };
  await Promise.all(Array.from({ length: Math.min(settings.maxInFlight, requests.length) }, worker));
  const durationS = (performance.now() - startMs) / 1000;
  const promptTokens = requests.reduce((sum, request) => sum + request.promptTokens.length, 0);
  return {
    durationS,
    numRequests: requests.length,
    promptTokens,
    outputTokens,
    requestsPerS: requests.length / durationS,
    tokensPerS: (promptTokens + outputTokens) / durationS,
    outputTokensPerS: outputTokens / durationS,
  };
}

function requestOf({ prompt, outputLen }: Prompt, index: number, { n, temperature, seed }: ThroughputSettings): GenerationRequest {
  if (typeof prompt === 'string') throw new Error('offline prompts are token ids');
  return {
    id: `bench-${index}`,
    promptTokens: Int32Array.from(prompt),
    sampling: { ...neutralSampling, n, temperature, seed: BigInt(seed + index) },
    stop: endsByLength(outputLen),
    priority: 0,
    cacheSalt: null,
  };
}
