/**
 * What the model says, as a message or a piece of one: content, reasoning under both of its names, tool_calls or the older function_call. Which
 * fields are null and which are absent is vLLM's choice, and clients have come to rely on it.
 */
import type { ParsedEvent } from '../parsing/event-list.js';
import type { ChatDelta } from './answer-events.js';
import { jsonText } from './json-text.js';
import type { ToolRequest } from './tools.js';

/** What of the request decides how a message looks. */
export interface MessageShape {
  /** null: no calls were possible. */
  readonly tools: Pick<ToolRequest, 'choice' | 'isLegacy'> | null;
  /** Calls or reasoning were looked for. */
  readonly isParsed: boolean;
}

interface Call {
  readonly id: string;
  readonly name: string;
  arguments: string;
}

/** A named function is what was asked for and no end of its own: OpenAI says `stop`. */
export function finishReasonOf(reason: ChatDelta['finishReason'], { tools }: MessageShape): string | null {
  if (reason !== 'tool_calls' || tools === null) return reason;
  return tools.choice === 'named' ? 'stop' : tools.isLegacy ? 'function_call' : 'tool_calls';
}

/** A whole message, from the events of its deltas. */
export class MessageWriter {
  readonly #shape: MessageShape;
  #content: string;
  #reasoning = '';
  readonly #calls: Call[] = [];

  /** `begun`: what the content begins with. */
  constructor(shape: MessageShape, begun: string) {
    this.#shape = shape;
    this.#content = begun;
  }

  push(events: readonly ParsedEvent[]): void {
    for (const event of events) {
      if (event.type === 'call') this.#calls.push({ id: event.id, name: event.name, arguments: '' });
      else if (event.type === 'arguments') this.#calls[event.index]!.arguments += event.text;
      else if (event.type === 'content') this.#content += event.text;
      else this.#reasoning += event.text;
    }
  }

  message(role: string): object {
    const { tools } = this.#shape;
    const [first] = this.#calls;
    const hasMore = first !== undefined || this.#reasoning !== '';
    const isForced = tools !== null && tools.choice !== 'auto';
    const toolCalls = this.#calls.map(({ id, name, arguments: args }) => ({ id, type: 'function', function: { name, arguments: args } }));
    return {
      role,
      content: this.#content === '' && hasMore && !isForced ? null : this.#content,
      refusal: null,
      annotations: null,
      audio: null,
      function_call: tools?.isLegacy && first !== undefined ? { name: first.name, arguments: first.arguments } : null,
      ...(first === undefined || tools?.isLegacy ? {} : { tool_calls: toolCalls }),
      reasoning: this.#reasoning === '' ? null : this.#reasoning,
      ...(this.#reasoning === '' ? {} : { reasoning_content: this.#reasoning }),
    };
  }
}

/** A piece of a message, as JSON. */
export function deltaJson(events: readonly ParsedEvent[], shape: MessageShape): string {
  if (!shape.isParsed) return `{"content":${jsonText(textOf(events, 'content'))}}`;
  const [content, reasoning] = [textOf(events, 'content'), textOf(events, 'reasoning')];
  const calls = callPieces(events);
  const fields: string[] = [];
  if (reasoning !== '') fields.push(`"reasoning":${jsonText(reasoning)}`, `"reasoning_content":${jsonText(reasoning)}`);
  if (content !== '') fields.push(`"content":${jsonText(content)}`);
  else if (calls.length > 0) fields.push('"content":null');
  if (calls.length > 0) {
    fields.push(shape.tools?.isLegacy ? `"function_call":${JSON.stringify(calls[0]!.function)}` : `"tool_calls":${JSON.stringify(calls)}`);
  }
  return `{${fields.join(',')}}`;
}

function textOf(events: readonly ParsedEvent[], type: 'content' | 'reasoning'): string {
  let text = '';
  for (const event of events) if (event.type === type) text += event.text;
  return text;
}

interface CallPiece {
  readonly index: number;
  readonly id?: string;
  readonly type?: 'function';
  readonly function: { readonly name?: string; readonly arguments?: string };
}

/** One piece a call: its id and name with the first, and what there is of its arguments. */
function callPieces(events: readonly ParsedEvent[]): CallPiece[] {
  const pieces = new Map<number, CallPiece>();
  for (const event of events) {
    if (event.type === 'call') {
      pieces.set(event.index, { id: event.id, type: 'function', index: event.index, function: { name: event.name } });
    } else if (event.type === 'arguments') {
      const piece = pieces.get(event.index) ?? { index: event.index, function: {} };
      pieces.set(event.index, {
        ...piece,
        function: { ...piece.function, arguments: (piece.function.arguments ?? '') + event.text },
      });
    }
  }
  return [...pieces.values()];
}
