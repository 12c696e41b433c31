/**
 * POST /v1/chat/completions/render and /v1/completions/render: what the model would be asked, without asking it. The answer has the shape of
 * vLLM's requests by token ids, which routers read.
 */
import { parseChat } from './chat-request.js';
import { readCompletion } from './completions.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { type Generation, parseStreamOptions, type StreamOptions, withContextLimit } from './generation.js';
import type { JsonObject } from './json-object.js';
import { readGenerating } from './request.js';
import { chatBody, completionBody } from './request-fields.js';
import { responseId } from './run.js';
import type { ServedModel } from './served-model.js';

export async function handleRenderChat(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body, text } = await readGenerating(exchange, context, chatBody);
  const { generation, conversation } = parseChat(body, text, serving.model);
  const streaming = parseStreamOptions(body, context.options.forceIncludeUsage);
  const ids = await serving.preparer.encode({ kind: 'messages', ...conversation, truncation: generation.truncation });
  const id = responseId('chatcmpl', exchange, body);
  exchange.reply(200, 'application/json', stringify(renderedOf(id, ids, generation, streaming, serving.model)));
}

export async function handleRenderCompletion(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body, text } = await readGenerating(exchange, context, completionBody);
  const { completion, prompts } = await readCompletion(body, text, context, serving);
  const id = responseId('cmpl', exchange, body);
  const { generation, streaming } = completion;
  const rendered = prompts.map(({ ids }, i) => renderedOf(`${id}-${i}`, ids, generation, streaming, serving.model));
  exchange.reply(200, 'application/json', stringify(rendered));
}

/** Seeds have 64 bits: as digits where JSON's numbers would round them. */
const stringify = (value: unknown) =>
  JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'bigint') return each;
    return Number.isSafeInteger(Number(each)) ? Number(each) : String(each);
  });

/** Throws where prompt and output do not fit. */
function renderedOf(id: string, ids: Int32Array, generation: Generation, streaming: StreamOptions, model: ServedModel): JsonObject {
  const { stream, includeUsage, continuousUsage } = streaming;
  return {
    request_id: id,
    token_ids: Array.from(ids),
    features: null,
    sampling_params: samplingParams(generation, ids.length, model),
    model: model.names[0],
    stream,
    stream_options: stream ? { include_usage: includeUsage, continuous_usage_stats: continuousUsage } : null,
    cache_salt: generation.cacheSalt,
    priority: generation.priority,
    kv_transfer_params: null,
  };
}

function samplingParams(generation: Generation, promptLen: number, model: ServedModel): JsonObject {
  const { sampling } = generation;
  const stop = withContextLimit(generation, promptLen, model.maxModelLen);
  return {
    n: sampling.n,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    repetition_penalty: sampling.repetitionPenalty,
    seed: sampling.seed,
    logit_bias: sampling.logitBias.length === 0 ? null : Object.fromEntries(sampling.logitBias),
    logprobs: sampling.numLogprobs,
    prompt_logprobs: sampling.numPromptLogprobs,
    stop: stop.stopStrings,
    stop_token_ids: stop.stopTokenIds,
    include_stop_str_in_output: stop.includeStopString,
    ignore_eos: stop.ignoreEos,
    max_tokens: stop.maxTokens,
    min_tokens: stop.minTokens,
    skip_special_tokens: generation.skipSpecialTokens,
  };
}
