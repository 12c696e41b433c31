/** What the server says of itself: GET /server_info (vLLM's), /get_server_info, /get_model_info, /health_generate (SGLang's), /tokenizer_info. */
import { cpus, totalmem } from 'node:os';
import type { GenerationRequest } from '../../engine/request.js';
import { LockstepError } from '../../errors.js';
import { endsByLength, neutralSampling } from '../../sampling/params.js';
import { type Context, servingNow } from '../context.js';
import type { Exchange } from '../exchange.js';
import { engineId } from '../run.js';
import { oneWord } from '../schema.js';
import type { ServedModel } from '../served-model.js';
import { parameters } from './steer.js';

export const infoQuery = { config_format: oneWord('text', 'json') };

const json = (exchange: Exchange, value: unknown) => exchange.reply(200, 'application/json', JSON.stringify(value));

/** The flags as they were given, but for secrets, and the machine. `config_format`: text (as vLLM by default) or json. */
export function handleServerInfo(exchange: Exchange, context: Context): void {
  const format = parameters(exchange, infoQuery).get('config_format') ?? 'text';
  if (format !== 'text' && format !== 'json') {
    throw new LockstepError('invalid_value', `config_format must be text or json, got ${format}.`, { param: 'config_format' });
  }
  const { settings, version } = context.options;
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  json(exchange, { version, vllm_config: format === 'json' ? settings : lines.join(', '), system_env: machine() });
}

function machine(): object {
  const { node, v8 } = process.versions;
  const cores = cpus();
  return { node, v8, platform: process.platform, arch: process.arch, cpu: cores[0]?.model ?? null, cpus: cores.length, memory: totalmem() };
}

export function handleModelInfo(exchange: Exchange, context: Context): void {
  const { model } = servingNow(context);
  json(exchange, modelInfo(model));
}

function modelInfo({ root, names, maxModelLen, preparation, defaults, pooler }: ServedModel): object {
  const { temperature, topP, topK, minP, repetitionPenalty } = defaults;
  const preferred = { temperature, top_p: topP, top_k: topK, min_p: minP, repetition_penalty: repetitionPenalty };
  return {
    model_path: root,
    tokenizer_path: preparation?.tokenizer.path ?? root,
    served_model_name: names[0],
    is_generation: pooler === null,
    preferred_sampling_params: Object.values(preferred).every((value) => value === undefined) ? null : preferred,
    context_length: maxModelLen,
  };
}

export function handleGetServerInfo(exchange: Exchange, context: Context): void {
  const { model } = servingNow(context);
  const { running, waiting, kvCacheUsage, asleep } = model.engine.counters();
  const state = { num_running_reqs: running, num_waiting_reqs: waiting, token_usage: kvCacheUsage, is_sleeping: asleep === 1 };
  const { settings, version } = context.options;
  json(exchange, { ...settings, ...modelInfo(model), page_size: model.blockSize, internal_states: [state], version });
}

/** What the tokenizer's files say, as vLLM shows it with --enable-tokenizer-info-endpoint. */
export function handleTokenizerInfo(exchange: Exchange, context: Context): void {
  const { preparation, tokenizer } = servingNow(context).model;
  const config = preparation?.tokenizer.kind === 'huggingface' ? preparation.tokenizer.config : {};
  json(exchange, {
    tokenizer_class: null,
    bos_token: tokenizer.bosToken,
    eos_token: tokenizer.eosToken,
    vocab_size: tokenizer.vocabSize,
    ...config,
    chat_template: preparation?.chatTemplate ?? null,
  });
}

/** How long a token may take to come. */
export const healthGenerateMs = 20_000;
const lookMs = 50;

/** 200 once the engine makes a token, for this request or for any other; 503 where none comes in time. */
export async function handleHealthGenerate(exchange: Exchange, context: Context): Promise<void> {
  const { engine, tokenizer, defaults, pooler } = servingNow(context).model;
  const before = engine.counters().generationTokens;
  const id = engineId('health');
  await new Promise<void>((resolve, reject) => {
    const end = (error: Error | null) => {
      clearInterval(look);
      clearTimeout(patience);
      engine.abort(id);
      if (error === null) resolve();
      else reject(error);
    };
    const look = setInterval(() => {
      if (engine.counters().generationTokens > before) end(null);
    }, lookMs);
    const silent = new LockstepError('not_ready', `No token came within ${healthGenerateMs / 1000} s.`);
    const patience = setTimeout(() => end(silent), healthGenerateMs);
    exchange.onEnd(() => end(null));
    engine.submit(leastRequest(id, tokenizer.bosTokenId ?? defaults.eosTokenIds[0] ?? 0, pooler), {
      prompt: () => undefined,
      tokens: () => end(null),
      end: ({ finishReason }) => end(finishReason === 'length' ? null : silent),
      closed: () => undefined,
    });
  });
  exchange.reply(200, null, '');
}

/** One token of one token, or what is pooled of it. */
function leastRequest(id: string, promptId: number, pooler: ServedModel['pooler']): GenerationRequest {
  const maxTokens = pooler === null ? 1 : 0;
  return {
    id,
    promptTokens: Int32Array.of(promptId),
    sampling: { ...neutralSampling, temperature: 0 },
    stop: endsByLength(maxTokens),
    priority: 0,
    cacheSalt: null,
    ...(pooler === null ? {} : { pooling: pooler.request(null) }),
  };
}
