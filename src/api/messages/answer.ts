/** The answer of /v1/messages, whole or streamed. Keys and nulls are as vLLM's, which Anthropic's clients read. */

import type { ChatDelta, ChatEvents } from '../answer-events.js';
import { type ChatItem, ChatItems } from '../chat-items.js';
import { type Exchange, eventStreamType } from '../exchange.js';
import { jsonText } from '../json-text.js';
import { namedEvent } from '../sse.js';

export interface MessageParts {
  readonly exchange: Exchange;
  readonly id: string;
  readonly model: string;
  readonly inputTokens: number;
  /** `--enable-prompt-tokens-details`: the cached tokens are told, and so not among the others. */
  readonly withCached: boolean;
}

/** Counts and the end of the one choice. */
class MessageEnd {
  outputTokens = 0;
  stopReason: string | null = null;
  stopSequence: string | null = null;
  #cachedTokens = 0;
  readonly #parts: MessageParts;

  constructor(parts: MessageParts) {
    this.#parts = parts;
  }

  promptKnown(cachedTokens: number): void {
    this.#cachedTokens = cachedTokens;
  }

  push({ ids, finishReason, stopReason }: ChatDelta): void {
    this.outputTokens += ids.length;
    if (finishReason === null) return;
    const isSequence = finishReason === 'stop' && typeof stopReason === 'string';
    this.stopReason = isSequence ? 'stop_sequence' : (stopReasons[finishReason] ?? 'end_turn');
    this.stopSequence = isSequence ? stopReason : null;
  }

  get usage(): object {
    const { inputTokens, withCached } = this.#parts;
    const output_tokens = this.outputTokens;
    if (!withCached) return { input_tokens: inputTokens, output_tokens };
    return { input_tokens: inputTokens - this.#cachedTokens, output_tokens, cache_read_input_tokens: this.#cachedTokens };
  }
}

/** An answer that the server cut off may be asked for again, as a turn that was paused. */
const stopReasons: Readonly<Record<string, string>> = { length: 'max_tokens', tool_calls: 'tool_use', abort: 'pause_turn' };

const toolUse = (id: string, name: string, input: string) =>
  `{"type":"tool_use","id":${JSON.stringify(id)},"name":${JSON.stringify(name)},"input":${input}}`;

/** `{}` where the length cut them off. */
function wholeArguments(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return '{}';
  }
}

/** JSON, since arguments stay as the model wrote them. */
function block(item: ChatItem): string {
  if (item.type === 'call') return toolUse(item.id, item.name, wholeArguments(item.arguments));
  const { type, text } = item;
  return JSON.stringify(type === 'content' ? { type: 'text', text } : { type: 'thinking', thinking: text, signature: '' });
}

export function wholeMessage(parts: MessageParts): ChatEvents {
  const { exchange, id, model } = parts;
  const end = new MessageEnd(parts);
  const content = new ChatItems();
  return {
    prompt: ({ cachedTokens }) => end.promptKnown(cachedTokens),
    delta(delta) {
      end.push(delta);
      content.push(delta.events);
    },
    finish() {
      const head = JSON.stringify({ id, type: 'message', role: 'assistant' }).slice(0, -1);
      const { stopReason, stopSequence, usage } = end;
      const ending = { model, stop_reason: stopReason, ...(stopSequence === null ? {} : { stop_sequence: stopSequence }), usage };
      const tail = JSON.stringify(ending).slice(1);
      exchange.reply(200, 'application/json', `${head},"content":[${content.items.map(block).join(',')}],${tail}`);
    },
  };
}

export function streamedMessage(parts: MessageParts): ChatEvents {
  const { exchange, id, model } = parts;
  const end = new MessageEnd(parts);
  const send = (type: string, rest: string) => exchange.stream!.send(namedEvent(type, `{"type":"${type}",${rest}}`));
  const items = new ChatItems({
    begin: (item, index) => send('content_block_start', `"content_block":${emptyBlock(item)},"index":${index}`),
    more: (item, index, piece) => send('content_block_delta', `"delta":${blockDelta(item, piece)},"index":${index}`),
    end: (_item, index) => send('content_block_stop', `"index":${index}`),
  });
  const open = () => {
    exchange.openStream(eventStreamType);
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      content: [],
      model,
      stop_reason: null,
      stop_sequence: null,
      usage: end.usage,
    };
    send('message_start', `"message":${JSON.stringify(message)}`);
  };
  return {
    prompt: ({ cachedTokens }) => end.promptKnown(cachedTokens),
    delta(delta) {
      if (exchange.stream === null) open();
      end.push(delta);
      items.push(delta.events);
    },
    finish() {
      items.finish();
      const delta = JSON.stringify({ stop_reason: end.stopReason, stop_sequence: end.stopSequence });
      send('message_delta', `"delta":${delta},"usage":${JSON.stringify(end.usage)}`);
      exchange.stream!.end(namedEvent('message_stop', '{"type":"message_stop"}'));
    },
  };
}

function emptyBlock(item: ChatItem): string {
  if (item.type === 'call') return toolUse(item.id, item.name, '{}');
  return item.type === 'content' ? '{"type":"text","text":""}' : '{"type":"thinking","thinking":"","signature":""}';
}

function blockDelta({ type }: ChatItem, piece: string): string {
  const text = jsonText(piece);
  if (type === 'content') return `{"type":"text_delta","text":${text}}`;
  return type === 'reasoning' ? `{"type":"thinking_delta","thinking":${text}}` : `{"type":"input_json_delta","partial_json":${text}}`;
}
