/** A body of /v1/responses -> the same in the terms of /v1/chat/completions. */
import type { ChatMessage, TextPart } from '../../chat/template.js';
import { LockstepError } from '../../errors.js';
import type { FieldNames } from '../fields.js';
import type { JsonObject } from '../json-object.js';
import { sameAsChat } from './fields.js';

/** What chat's fields are called here, for errors. */
export const responsesNames: FieldNames = {
  max_completion_tokens: 'max_output_tokens',
  max_tokens: 'max_output_tokens',
  response_format: 'text.format',
  verbosity: 'text.verbosity',
  reasoning_effort: 'reasoning.effort',
  messages: 'input',
  'tools[].function.parameters': 'tools[].parameters',
};

export interface Item extends JsonObject {
  readonly type?: string;
}

/** The items of `input`. */
export function itemsOf(input: unknown): readonly Item[] {
  return typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : (input as readonly Item[]);
}

/** `history`: the conversation that `previous_response_id` names, without instructions. */
export function responsesAsChat(body: JsonObject, history: readonly ChatMessage[]): JsonObject {
  const items = itemsOf(body['input']);
  const { instructions, max_output_tokens: maxTokens, reasoning, text, stream, truncation } = body;
  const { effort } = (reasoning ?? {}) as { effort?: string | null };
  const { format, verbosity } = (text ?? {}) as { format?: JsonObject | null; verbosity?: string | null };
  const unfinished = ['in_progress', 'incomplete'].includes(String(items.at(-1)?.['status'])) && items.at(-1)?.['role'] === 'assistant';
  return {
    ...Object.fromEntries(sameAsChat.filter((name) => name !== 'request_id' && body[name] !== undefined).map((name) => [name, body[name]])),
    messages: [...(instructions ? [{ role: 'system', content: instructions }] : []), ...history, ...messagesOf(items)],
    ...(unfinished ? { add_generation_prompt: false, continue_final_message: true } : {}),
    ...(maxTokens === undefined ? {} : { max_completion_tokens: maxTokens }),
    ...(stream === undefined ? {} : { stream }),
    ...(truncation === 'auto' ? { truncate_prompt_tokens: -1 } : {}),
    ...logprobsOf(body),
    ...(effort ? { reasoning_effort: effort } : {}),
    ...(verbosity ? { verbosity } : {}),
    ...formatOf(format),
    ...toolsOf(body),
  };
}

/** A message of the assistant, as chat's templates read it. */
interface Spoken {
  readonly role: 'assistant';
  content: string | null;
  reasoning?: string;
  tool_calls?: JsonObject[];
}

/** Calls and reasoning are items of their own here; there they belong to the message of the assistant that they stand beside. */
export function messagesOf(items: readonly Item[]): ChatMessage[] {
  const messages: (ChatMessage | Spoken)[] = [];
  let spoken: Spoken | null = null;
  for (const item of items) {
    const isSpoken = item.type === 'function_call' || item.type === 'reasoning' || item['role'] === 'assistant';
    if (!isSpoken) {
      spoken = null;
      messages.push(heard(item));
      continue;
    }
    const isNext: boolean =
      spoken === null || (item['role'] === 'assistant' && (spoken.content !== null || spoken.tool_calls !== undefined));
    if (isNext || spoken === null) {
      spoken = { role: 'assistant', content: null };
      messages.push(spoken);
    }
    addTo(spoken, item);
  }
  return messages as ChatMessage[];
}

function addTo(message: Spoken, item: Item): void {
  if (item.type === 'function_call') {
    const call = { id: item['call_id'], type: 'function', function: { name: item['name'], arguments: item['arguments'] } };
    message.tool_calls = [...(message.tool_calls ?? []), call];
  } else if (item.type === 'reasoning') {
    message.reasoning = (message.reasoning ?? '') + textOf(item['content'] ?? item['summary'] ?? '');
  } else {
    message.content = textOf(item['content']);
  }
}

/** What others say. */
function heard(item: Item): ChatMessage {
  if (item.type === 'function_call_output') {
    return { role: 'tool', tool_call_id: item['call_id'] as string, content: textOf(item['output']) };
  }
  return { role: item['role'] as string, content: contentOf(item['content']) };
}

interface Part {
  readonly type: string;
  readonly text?: string;
  readonly refusal?: string;
}
const textParts = ['input_text', 'output_text', 'text', 'reasoning_text', 'summary_text'];

function partText({ type, text, refusal }: Part): string {
  if (type === 'refusal') return refusal ?? '';
  if (textParts.includes(type)) return text ?? '';
  throw new LockstepError('invalid_value', `A part of type ${type} is not served: only text models are.`, { param: 'input' });
}

const textOf = (content: unknown) => (typeof content === 'string' ? content : (content as readonly Part[]).map(partText).join('\n'));

function contentOf(content: unknown): string | TextPart[] {
  if (typeof content === 'string') return content;
  const parts = content as readonly Part[];
  return parts.length === 1 ? partText(parts[0]!) : parts.map((part): TextPart => ({ type: 'text', text: partText(part) }));
}

/** Asked for by either name. */
function logprobsOf({ include, top_logprobs: top }: JsonObject): JsonObject {
  const wanted = ((include ?? []) as readonly string[]).includes('message.output_text.logprobs') || Boolean(top);
  return wanted ? { logprobs: true, top_logprobs: top ?? 0 } : {};
}

function formatOf(format: JsonObject | null | undefined): JsonObject {
  if (!format || format['type'] === 'text') return {};
  if (format['type'] === 'json_object') return { response_format: { type: 'json_object' } };
  const { type: _type, ...schema } = format;
  return { response_format: { type: 'json_schema', json_schema: schema } };
}

/** Without tools, auto and none ask for nothing. */
function toolsOf({ tools, tool_choice: choice }: JsonObject): JsonObject {
  const given = (tools ?? []) as readonly JsonObject[];
  const functions = given.map(({ name, description, parameters, strict }) => ({
    type: 'function',
    function: { name, ...(description ? { description } : {}), ...(parameters ? { parameters } : {}), ...(strict ? { strict } : {}) },
  }));
  if (functions.length === 0 && (choice === 'auto' || choice === 'none')) return {};
  return {
    ...(functions.length === 0 ? {} : { tools: functions }),
    ...(choice === undefined || choice === null ? {} : { tool_choice: choiceOf(choice as string | JsonObject) }),
  };
}

function choiceOf(choice: string | JsonObject): unknown {
  if (typeof choice === 'string') return choice;
  const named = ({ name }: JsonObject) => ({ type: 'function', function: { name } });
  if (choice['type'] === 'function') return named(choice);
  const { mode, tools } = choice as unknown as { mode: string; tools: readonly JsonObject[] };
  return { type: 'allowed_tools', allowed_tools: { mode, tools: tools.map(named) } };
}
