/**
 * Messages with calls, as a template can take them. Templates differ, and none says what it wants: a conversation with a call is rendered in each
 * of the ways, with the first message that needs it.
 */
import { dumps, type JsonStyle, toValue } from './template-values.js';

interface Message {
  readonly content?: unknown;
  readonly tool_calls?: readonly unknown[];
  readonly [key: string]: unknown;
}
type Render = (messages: readonly Message[]) => string;

interface CallShape {
  /** Of a message that is nothing but calls. */
  readonly content: '' | null;
  /** Arguments are JSON text, in place of the objects that they are. */
  readonly hasTexts: boolean;
}

/** `noContent`: in place of what the template can take. */
export function callFitter(render: Render, noContent: '' | null | undefined): <M extends Message>(message: M) => M {
  let shape: CallShape | null = null;
  return (message) => {
    const calls = message.tool_calls ?? [];
    if (calls.length === 0) return message;
    shape ??= shapeFor(render, noContent);
    const { content, hasTexts } = shape;
    return { ...message, content: message.content ?? content, tool_calls: hasTexts ? calls.map(withText) : calls };
  };
}

/**
 * Clients send null beside calls, which most templates cannot take or print as "None", so that it becomes ''. Those that tell a turn of calls by its
 * null, as DeepSeek's do, print one more turn for '', or no calls. Most templates want arguments as objects; one that joins them to a text, as
 * DeepSeek-R1's, takes nothing but text.
 */
function shapeFor(render: Render, noContent: '' | null | undefined): CallShape {
  for (const args of [{ key: 'value' }, '{"key": "value"}']) {
    const [withNull, withEmpty] = [lengthOf(render, null, args), lengthOf(render, '', args)];
    if (Math.min(withNull, withEmpty) === Number.POSITIVE_INFINITY) continue;
    return { content: noContent === undefined ? (withNull < withEmpty ? null : '') : noContent, hasTexts: typeof args === 'string' };
  }
  return { content: noContent === undefined ? '' : noContent, hasTexts: false };
}

/** Of a conversation with one call; infinite where the template refuses it, or prints no call. */
function lengthOf(render: Render, content: '' | null, args: object | string): number {
  const name = 'lockstep_call';
  const calls = [{ id: 'call00000', type: 'function', function: { name, arguments: args } }];
  try {
    const text = render([
      { role: 'user', content: 'a' },
      { role: 'assistant', content, tool_calls: calls },
    ]);
    return text.includes(name) ? text.length : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

const asModelsWrite: JsonStyle = { indent: null, ensureAscii: false, sortKeys: false, separators: [', ', ': '] };

function withText(call: unknown): unknown {
  const { function: called } = call as { readonly function?: { readonly arguments?: unknown } };
  const isObject = typeof called?.arguments === 'object' && called.arguments !== null;
  return isObject ? { ...(call as object), function: { ...called, arguments: dumps(toValue(called.arguments), asModelsWrite) } } : call;
}
