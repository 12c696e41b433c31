/** GET /engine: what the engine does and how the model lies over its ranks, for the page at `/`. Counts and times of the server, nothing of prompts. */
import { totalmem } from 'node:os';
import { type Context, servingNow } from './context.js';
import type { Exchange } from './exchange.js';
import type { Answer } from './route.js';
import { anyOf, boolean, integer, list, mapOf, nothing, number, object, oneWord, string } from './schema.js';

const range = list(integer, { minItems: 2, maxItems: 2 });
const histogram = object({ bounds: list(number), counts: list(number), sum: number });

export const engineAnswer: Answer = {
  name: 'EngineState',
  json: object({
    version: string,
    /** Milliseconds of the server's clock; only differences mean anything. */
    clock_ms: number,
    model: object({
      name: string,
      family: string,
      parameters: integer,
      weight_format: string,
      layers: integer,
      hidden: integer,
      max_model_len: integer,
      max_logprobs: integer,
      generates: boolean,
      chats: boolean,
    }),
    ranks: object({
      count: integer,
      /** What each is on: "cpu", "cuda:0 NVIDIA H200". */
      devices: list(string),
      mode: oneWord('gather', 'reduce'),
      threads_per_rank: integer,
      cuts: list(object({ part: string, layers: anyOf(range, nothing), total: integer, ranges: list(range) })),
    }),
    memory: object({
      weight_bytes: number,
      kv_cache_bytes: number,
      kv_cache_tokens: integer,
      resident_bytes: number,
      system_bytes: number,
    }),
    counters: mapOf(number),
    /** Microseconds of all steps since the start, by phase, a number a rank. */
    phase_times_us: mapOf(list(number)),
    time_to_first_token_seconds: histogram,
    inter_token_latency_seconds: histogram,
  }),
};

export function handleEngine(exchange: Exchange, context: Context): void {
  const { model } = servingNow(context);
  const { facts, placement, engine } = model;
  const figures = engine.counters();
  const { firstToken, interToken } = context.metrics.latencies()!;
  const state = {
    version: context.options.version,
    clock_ms: performance.timeOrigin + performance.now(),
    model: {
      name: model.names[0],
      family: facts.family,
      parameters: facts.numParameters,
      weight_format: facts.weightFormat,
      layers: facts.numLayers,
      hidden: facts.hidden,
      max_model_len: model.maxModelLen,
      max_logprobs: model.maxLogprobs,
      generates: model.pooler === null,
      chats: model.pooler === null && model.template !== null,
    },
    ranks: {
      count: placement.ranks,
      devices: placement.devices,
      mode: placement.mode,
      threads_per_rank: placement.threadsPerRank,
      cuts: placement.cuts,
    },
    memory: {
      weight_bytes: facts.numBytes,
      kv_cache_bytes: placement.kvCacheBytes,
      kv_cache_tokens: placement.kvCacheTokens,
      resident_bytes: process.memoryUsage.rss(),
      system_bytes: totalmem(),
    },
    counters: {
      running: figures.running,
      waiting: figures.waiting,
      kv_cache_usage: figures.kvCacheUsage,
      steps: figures.steps,
      prompt_tokens: figures.promptTokens,
      generation_tokens: figures.generationTokens,
      prefix_cache_queries: figures.prefixCacheQueries,
      prefix_cache_hits: figures.prefixCacheHits,
      preemptions: figures.preemptions,
      host_time_us: figures.hostTimeUs,
    },
    phase_times_us: figures.phaseTimesUs,
    time_to_first_token_seconds: firstToken,
    inter_token_latency_seconds: interToken,
  };
  exchange.setHeader('cache-control', 'no-store');
  exchange.reply(200, 'application/json', JSON.stringify(state));
}
