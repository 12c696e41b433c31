/** The response object: its keys and nulls are vLLM's, which OpenAI's clients read. */
import { randomBytes } from 'node:crypto';
import type { ChatItem } from '../chat-items.js';
import type { Generation } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import type { ChatTokenLogprob } from '../logprobs.js';
import type { UsageCounter } from '../usage.js';

export interface ResponseHead {
  readonly id: string;
  readonly createdAt: number; // Unix seconds
  readonly model: string;
  readonly body: JsonObject;
  readonly generation: Generation;
}

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'cancelled' | 'failed';

export interface ResponseState {
  readonly status: ResponseStatus;
  readonly output: readonly JsonObject[];
  readonly usage: object | null;
  readonly error?: { readonly code: string; readonly message: string };
}

export function responseObject({ id, createdAt, model, body, generation }: ResponseHead, state: ResponseState): JsonObject {
  const { sampling } = generation;
  const given = (name: string, otherwise: unknown = null) => body[name] ?? otherwise;
  const tools = given('tools', []) as readonly unknown[];
  return {
    id,
    created_at: createdAt,
    incomplete_details: state.status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: given('instructions'),
    metadata: given('metadata'),
    model,
    object: 'response',
    output: state.output,
    parallel_tool_calls: given('parallel_tool_calls', true),
    temperature: sampling.temperature,
    tool_choice: given('tool_choice', tools.length === 0 ? 'none' : 'auto'),
    tools,
    top_p: sampling.topP,
    background: given('background', false),
    max_output_tokens: given('max_output_tokens'),
    max_tool_calls: given('max_tool_calls'),
    previous_response_id: given('previous_response_id'),
    prompt: null,
    reasoning: given('reasoning'),
    service_tier: given('service_tier', 'auto'),
    status: state.status,
    text: given('text'),
    top_logprobs: given('top_logprobs'),
    truncation: given('truncation', 'disabled'),
    usage: state.usage,
    user: given('user'),
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    kv_transfer_params: null,
    ec_transfer_params: null,
    input_messages: null,
    output_messages: null,
    ...(state.error === undefined ? {} : { error: state.error }),
  };
}

export function responseUsage({ promptTokens, completionTokens, reasoningTokens, cachedTokens, createdCacheTokens }: UsageCounter): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: {
      cached_tokens: cachedTokens,
      cache_write_tokens: createdCacheTokens,
      input_tokens_per_turn: [],
      cached_tokens_per_turn: [],
    },
    output_tokens: completionTokens,
    output_tokens_details: {
      reasoning_tokens: reasoningTokens ?? 0,
      tool_output_tokens: 0,
      output_tokens_per_turn: [],
      tool_output_tokens_per_turn: [],
    },
    total_tokens: promptTokens + completionTokens,
  };
}

const randomId = (prefix: string) => `${prefix}_${randomBytes(8).toString('hex')}`;

/** An output item under construction; `id`s stay the same from its first event on. */
export interface OutputItem {
  readonly id: string;
  readonly item: ChatItem;
  logprobs: ChatTokenLogprob[] | null;
}

const prefixes = { content: 'msg', reasoning: 'rs', call: 'fc' } as const;
export const outputItem = (item: ChatItem, withLogprobs: boolean): OutputItem => ({
  id: randomId(prefixes[item.type]),
  item,
  logprobs: withLogprobs ? [] : null,
});

/** The part that holds the text of a message or of reasoning. */
export function partOf({ item, logprobs }: OutputItem, text: string): JsonObject {
  return item.type === 'reasoning' ? { text, type: 'reasoning_text' } : { annotations: [], text, type: 'output_text', logprobs };
}

export function itemObject(output: OutputItem, status: 'in_progress' | 'completed'): JsonObject {
  const { id, item } = output;
  const isBegun = status === 'in_progress';
  if (item.type === 'call') {
    return { arguments: isBegun ? '' : item.arguments, call_id: item.id, name: item.name, type: 'function_call', id, status };
  }
  const content = isBegun ? [] : [partOf(output, item.text)];
  if (item.type === 'reasoning') return { id, summary: [], type: 'reasoning', content, encrypted_content: null, status };
  return { id, content, role: 'assistant', status, type: 'message', phase: null };
}
