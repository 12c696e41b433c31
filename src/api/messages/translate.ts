/** A body of /v1/messages -> the same in the terms of /v1/chat/completions. */
import { LockstepError } from '../../errors.js';
import type { FieldNames } from '../fields.js';
import type { JsonObject } from '../json-object.js';

/** What chat's fields are called here, for errors. */
export const messagesNames: FieldNames = {
  stop: 'stop_sequences',
  response_format: 'output_config.format',
  reasoning_effort: 'output_config.effort',
  thinking_token_budget: 'thinking.budget_tokens',
  'tools[].function.parameters': 'tools[].input_schema',
};

type Block = Readonly<Record<string, unknown>> & { readonly type: string };
interface Message {
  readonly role: 'user' | 'assistant' | 'system';
  readonly content: string | readonly Block[];
}

/** `body`: checked against its table. `reasons`: whether the model does; one that does not stays within every budget. */
export function messagesAsChat(body: JsonObject, reasons: boolean): JsonObject {
  const { system, messages, stop_sequences: stop, thinking, output_config: output, tools, tool_choice: choice } = body;
  const given = messages as readonly Message[];
  const goesOn = given.at(-1)?.role === 'assistant';
  const same = ['model', 'max_tokens', 'temperature', 'top_p', 'top_k', 'stream'] as const;
  return {
    ...Object.fromEntries(same.filter((name) => body[name] !== undefined).map((name) => [name, body[name]])),
    messages: [...systemOf(system as string | readonly Block[] | null | undefined), ...given.flatMap(asChatMessages)],
    ...(goesOn ? { add_generation_prompt: false, continue_final_message: true } : {}),
    ...(stop ? { stop } : {}),
    ...toolsOf(tools as readonly JsonObject[] | null | undefined, choice as JsonObject | null | undefined),
    ...outputOf(output as { effort?: string | null; format?: { schema: JsonObject } | null } | null | undefined),
    ...thinkingOf(thinking as JsonObject | null | undefined, body['chat_template_kwargs'] as JsonObject | null | undefined, reasons),
  };
}

/** Joined without a break, as vLLM does. */
function systemOf(system: string | readonly Block[] | null | undefined): JsonObject[] {
  const content = typeof system === 'string' ? system : (system ?? []).map(({ text }) => text).join('');
  return content === '' ? [] : [{ role: 'system', content }];
}

function asChatMessages({ role, content }: Message): JsonObject[] {
  if (typeof content === 'string') return [{ role, content }];
  return role === 'assistant' ? [assistantMessage(content)] : otherMessages(role, content);
}

/** Results of tools are messages of their own there. */
function otherMessages(role: string, blocks: readonly Block[]): JsonObject[] {
  const messages: { role: string; content: unknown; [key: string]: unknown }[] = [];
  let parts: JsonObject[] = [];
  const close = () => {
    if (parts.length > 0) messages.push({ role, content: contentOf(parts) });
    parts = [];
  };
  for (const block of blocks) {
    if (block.type === 'tool_result') {
      close();
      messages.push({ role: 'tool', tool_call_id: block['tool_use_id'], content: resultText(block['content']) });
    } else if (block.type === 'text') {
      parts.push({ type: 'text', text: block['text'] });
    } else {
      throw misplaced(block.type, role);
    }
  }
  close();
  return messages;
}

function assistantMessage(blocks: readonly Block[]): JsonObject {
  const parts: JsonObject[] = [];
  const calls: JsonObject[] = [];
  let reasoning = '';
  for (const block of blocks) {
    if (block.type === 'text') {
      parts.push({ type: 'text', text: block['text'] });
    } else if (block.type === 'thinking') {
      reasoning += block['thinking'];
    } else if (block.type === 'tool_use') {
      const call = { name: block['name'], arguments: JSON.stringify(block['input']) };
      calls.push({ id: block['id'], type: 'function', function: call });
    } else if (block.type !== 'redacted_thinking') {
      throw misplaced(block.type, 'assistant');
    }
  }
  return {
    role: 'assistant',
    content: parts.length === 0 ? null : contentOf(parts),
    ...(reasoning === '' ? {} : { reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  };
}

const contentOf = (parts: readonly JsonObject[]) => (parts.length === 1 ? parts[0]!['text'] : parts);

function resultText(content: unknown): string {
  if (typeof content === 'string') return content;
  const texts = ((content ?? []) as readonly Block[]).map((block) => {
    if (block.type !== 'text') throw misplaced(block.type, 'tool_result');
    return block['text'];
  });
  return texts.join('\n');
}

const misplaced = (type: string, role: string) =>
  new LockstepError('invalid_value', `A block of type ${type} in a message of ${role} is not served: only text models are.`, {
    param: 'messages',
  });

function toolsOf(tools: readonly JsonObject[] | null | undefined, choice: JsonObject | null | undefined): JsonObject {
  const functions = (tools ?? []).map(({ name, description, input_schema: parameters, strict }) => ({
    type: 'function',
    function: { name, ...(description ? { description } : {}), parameters, ...(strict ? { strict } : {}) },
  }));
  const words: Readonly<Record<string, unknown>> = { auto: 'auto', any: 'required', none: 'none' };
  const toolChoice =
    choice?.['type'] === 'tool' ? { type: 'function', function: { name: choice['name'] } } : words[String(choice?.['type'])];
  return {
    ...(functions.length === 0 ? {} : { tools: functions }),
    ...(toolChoice === undefined ? {} : { tool_choice: toolChoice }),
    ...(choice?.['disable_parallel_tool_use'] === true ? { parallel_tool_calls: false } : {}),
  };
}

function outputOf(config: { effort?: string | null; format?: { schema: JsonObject } | null } | null | undefined): JsonObject {
  const { effort, format } = config ?? {};
  return {
    ...(format ? { response_format: { type: 'json_schema', json_schema: { name: 'output', schema: format.schema, strict: true } } } : {}),
    ...(effort ? { reasoning_effort: effort } : {}),
  };
}

/** Templates know whether to think under this name. */
function thinkingOf(thinking: JsonObject | null | undefined, kwargs: JsonObject | null | undefined, reasons: boolean): JsonObject {
  if (!thinking) return kwargs ? { chat_template_kwargs: kwargs } : {};
  const { type, budget_tokens: budget, display } = thinking;
  return {
    chat_template_kwargs: { enable_thinking: type !== 'disabled', ...kwargs },
    ...(budget && reasons ? { thinking_token_budget: budget } : {}),
    ...(display === 'omitted' ? { include_reasoning: false } : {}),
  };
}
