/** Messages as OpenAI's API has them -> messages as chat templates expect them. */
import { parseJsonKeepingNumbers } from '../chat/json-numbers.js';
import type { ChatMessage } from '../chat/template.js';
import { isObject } from './json-object.js';

/**
 * Text, if empty, where there are no tool calls to speak for a message; the system's older name, where the template does not know OpenAI's
 * newer one and would print it as one more speaker; calls under their newer names, with arguments as objects; reasoning under both of its
 * names.
 */
export function asTemplatesExpect(message: ChatMessage, knowsDeveloper: boolean): ChatMessage {
  const { function_call: legacyCall, ...rest } = message;
  const toolCalls = message.tool_calls ?? (isObject(legacyCall) ? [{ type: 'function', function: legacyCall }] : undefined);
  const hasContent = message.content !== null && message.content !== undefined;
  const reasoning = message['reasoning'] ?? message['reasoning_content'];
  return {
    ...rest,
    role: message.role === 'function' ? 'tool' : message.role === 'developer' && !knowsDeveloper ? 'system' : message.role,
    ...(hasContent || (toolCalls ?? []).length > 0 ? {} : { content: '' }),
    ...(toolCalls === undefined ? {} : { tool_calls: toolCalls.map(withArguments) }),
    ...(reasoning === undefined || reasoning === null ? {} : { reasoning, reasoning_content: reasoning }),
  };
}

/** Arguments come as JSON; templates print objects. What is no object stays text, as a model may have written it. */
function withArguments(call: unknown): unknown {
  if (!isObject(call) || !isObject(call['function']) || typeof call['function']['arguments'] !== 'string') return call;
  const text = call['function']['arguments'];
  let parsed: unknown;
  try {
    parsed = text.trim() === '' ? {} : parseJsonKeepingNumbers(text);
  } catch {
    return call;
  }
  return isObject(parsed) ? { ...call, function: { ...call['function'], arguments: parsed } } : call;
}
