/** Bodies of /api/chat and /api/generate -> the same in the terms of /v1/chat/completions. */
import { LockstepError } from '../../errors.js';
import type { FieldNames } from '../fields.js';
import type { JsonObject } from '../json-object.js';
import { samplingOptions } from './fields.js';

/** What chat's fields are called here, for errors. */
export const ollamaNames: FieldNames = {
  ...Object.fromEntries(Object.entries(samplingOptions).map(([own, chats]) => [chats, `options.${own}`])),
  max_completion_tokens: 'options.num_predict',
  max_tokens: 'options.num_predict',
  response_format: 'format',
  reasoning_effort: 'think',
};

interface Message {
  readonly role: string;
  readonly content?: string | null;
  readonly thinking?: string | null;
  readonly images?: readonly unknown[] | null;
  readonly tool_calls?:
    | readonly { readonly id?: string; readonly function: { readonly name: string; readonly arguments?: JsonObject } }[]
    | null;
  readonly tool_name?: string | null;
  readonly tool_call_id?: string | null;
}

export function ollamaChatAsChat(body: JsonObject): JsonObject {
  const messages = body['messages'] as readonly Message[];
  const tools = (body['tools'] ?? []) as readonly JsonObject[];
  return {
    ...generationOf(body),
    messages: messages.map(asChatMessage),
    ...(tools.length === 0 ? {} : { tools: tools.map((tool) => ({ type: 'function', function: tool['function'] })) }),
  };
}

export function ollamaGenerateAsChat(body: JsonObject): JsonObject {
  const { system, prompt, raw } = body;
  if (raw === true && system)
    throw new LockstepError('invalid_value', 'With raw there is no system message. Leave one of them out.', { param: 'system' });
  return { ...generationOf(body), messages: [...(system ? [{ role: 'system', content: system }] : []), { role: 'user', content: prompt }] };
}

function asChatMessage(
  { role, content, thinking, images, tool_calls: calls, tool_name: name, tool_call_id: id }: Message,
  i: number,
): JsonObject {
  if ((images ?? []).length > 0)
    throw new LockstepError('invalid_value', 'Images are not served: only text models are.', { param: `messages.${i}.images` });
  const asCall = (call: NonNullable<Message['tool_calls']>[number], j: number) => ({
    id: call.id ?? `call_${i}_${j}`,
    type: 'function',
    function: { name: call.function.name, arguments: JSON.stringify(call.function.arguments ?? {}) },
  });
  return {
    role,
    content: content ?? '',
    ...(thinking ? { reasoning: thinking } : {}),
    ...(calls && calls.length > 0 ? { tool_calls: calls.map(asCall) } : {}),
    ...(name ? { name } : {}),
    ...(id ? { tool_call_id: id } : {}),
  };
}

function generationOf(body: JsonObject): JsonObject {
  const options = (body['options'] ?? {}) as JsonObject;
  const sampling = Object.entries(samplingOptions).filter(([name]) => options[name] !== undefined && options[name] !== null);
  const { format, logprobs, top_logprobs: top, truncate, thinking_token_budget: budget } = body;
  return {
    ...Object.fromEntries(sampling.map(([name, chats]) => [chats, options[name]])),
    ...lengthOf(options['num_predict'] as number | null | undefined),
    ...formatOf(format as string | JsonObject | null | undefined),
    ...(logprobs === true || top ? { logprobs: true, top_logprobs: top ?? 0 } : {}),
    ...thinkOf(body['think'] as boolean | string | null | undefined),
    ...(budget === undefined ? {} : { thinking_token_budget: budget }),
    ...(truncate === true ? { truncate_prompt_tokens: -1 } : {}),
  };
}

/** Below zero: what the context leaves. */
const lengthOf = (numPredict: number | null | undefined): JsonObject =>
  numPredict === null || numPredict === undefined || numPredict < 0 ? {} : { max_completion_tokens: numPredict };

function formatOf(format: string | JsonObject | null | undefined): JsonObject {
  if (!format) return {};
  if (typeof format === 'string') return { response_format: { type: 'json_object' } };
  return { response_format: { type: 'json_schema', json_schema: { name: 'format', schema: format, strict: true } } };
}

function thinkOf(think: boolean | string | null | undefined): JsonObject {
  if (think === null || think === undefined) return {};
  return typeof think === 'string' ? { reasoning_effort: think } : { chat_template_kwargs: { enable_thinking: think } };
}
