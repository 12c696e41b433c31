/** The answers of /api/chat and /api/generate: one object, or a line for every piece of it, the last with counts and times. */

import type { ChatDelta, ChatEvents } from '../answer-events.js';
import { type ChatItem, ChatItems, type ItemListener } from '../chat-items.js';
import type { Exchange } from '../exchange.js';
import type { JsonObject } from '../json-object.js';
import { type ChatTokenLogprob, chatLogprobs } from '../logprobs.js';
import type { ServedModel } from '../served-model.js';

export const linesType = 'application/x-ndjson';

export interface OllamaParts {
  readonly exchange: Exchange;
  readonly model: ServedModel;
  readonly promptLen: number;
  readonly arrivalMs: number;
  /** Puts what was said into the object of its route. */
  readonly shape: (said: Said) => JsonObject;
}

/** A piece of the answer, or all of it. */
export interface Said {
  readonly content: string;
  readonly thinking: string;
  readonly calls: readonly JsonObject[];
}

export const chatShape = ({ content, thinking, calls }: Said): JsonObject => ({
  message: {
    role: 'assistant',
    content,
    ...(thinking === '' ? {} : { thinking }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  },
});

export const generateShape = ({ content, thinking }: Said): JsonObject => ({
  response: content,
  ...(thinking === '' ? {} : { thinking }),
});

const nothing: Said = { content: '', thinking: '', calls: [] };
const doneReasons: Readonly<Record<string, string>> = { stop: 'stop', tool_calls: 'stop', length: 'length', abort: 'unload' };

/** What all lines have, and what the last one has besides. */
class OllamaAnswer {
  readonly #parts: OllamaParts;
  #firstMs = 0;
  #evalCount = 0;
  #doneReason = 'stop';

  constructor(parts: OllamaParts) {
    this.#parts = parts;
  }

  push({ ids, finishReason }: ChatDelta): void {
    if (this.#firstMs === 0) this.#firstMs = performance.now();
    this.#evalCount += ids.length;
    if (finishReason !== null) this.#doneReason = doneReasons[finishReason] ?? 'stop';
  }

  tokens({ logprobs }: ChatDelta): readonly ChatTokenLogprob[] {
    return logprobs === null ? [] : chatLogprobs(this.#parts.model.tokenizer, logprobs).content;
  }

  line(said: Said, logprobs: readonly ChatTokenLogprob[], done: boolean): string {
    const { model, shape } = this.#parts;
    return JSON.stringify({
      model: model.names[0],
      created_at: new Date().toISOString(),
      ...shape(said),
      ...(logprobs.length === 0 ? {} : { logprobs }),
      done,
      ...(done ? this.#counts() : {}),
    });
  }

  /** Times in nanoseconds. */
  #counts(): JsonObject {
    const { promptLen, arrivalMs } = this.#parts;
    const now = performance.now();
    const nanoseconds = (ms: number) => Math.max(0, Math.round(ms * 1e6));
    return {
      done_reason: this.#doneReason,
      total_duration: nanoseconds(now - arrivalMs),
      load_duration: 0,
      prompt_eval_count: promptLen,
      prompt_eval_duration: nanoseconds(this.#firstMs - arrivalMs),
      eval_count: this.#evalCount,
      eval_duration: nanoseconds(now - this.#firstMs),
    };
  }
}

/** Calls are told whole, with their arguments as objects. */
function callObject(id: string, name: string, text: string, index: number): JsonObject {
  return { id, function: { index, name, arguments: objectOf(text) } };
}

/** {} where the length cut them off. */
function objectOf(text: string): JsonObject {
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    return {};
  }
}

/** Gathers pieces of what is said until they are taken. */
class Gathered implements ItemListener {
  #said = nothing;
  #numCalls = 0;

  begin(): void {}

  more(item: ChatItem, _index: number, piece: string): void {
    if (item.type === 'content') this.#said = { ...this.#said, content: this.#said.content + piece };
    else if (item.type === 'reasoning') this.#said = { ...this.#said, thinking: this.#said.thinking + piece };
  }

  end(item: ChatItem): void {
    if (item.type !== 'call') return;
    this.#said = { ...this.#said, calls: [...this.#said.calls, callObject(item.id, item.name, item.arguments, this.#numCalls++)] };
  }

  /** null: nothing was said since the last time. */
  take(): Said | null {
    const said = this.#said;
    this.#said = nothing;
    return said === nothing ? null : said;
  }
}

export function wholeOllama(parts: OllamaParts): ChatEvents {
  const answer = new OllamaAnswer(parts);
  const gathered = new Gathered();
  const items = new ChatItems(gathered);
  const logprobs: ChatTokenLogprob[] = [];
  return {
    prompt: () => undefined,
    delta(delta) {
      answer.push(delta);
      items.push(delta.events);
      logprobs.push(...answer.tokens(delta));
    },
    finish() {
      items.finish();
      parts.exchange.reply(200, 'application/json', answer.line(gathered.take() ?? nothing, logprobs, true));
    },
  };
}

export function streamedOllama(parts: OllamaParts): ChatEvents {
  const { exchange } = parts;
  const answer = new OllamaAnswer(parts);
  const gathered = new Gathered();
  const items = new ChatItems(gathered);
  const send = (logprobs: readonly ChatTokenLogprob[]) => {
    const said = gathered.take();
    if (said !== null || logprobs.length > 0) exchange.stream!.send(`${answer.line(said ?? nothing, logprobs, false)}\n`);
  };
  return {
    prompt: () => undefined,
    delta(delta) {
      if (exchange.stream === null) exchange.openStream(linesType);
      answer.push(delta);
      items.push(delta.events);
      send(answer.tokens(delta));
    },
    finish() {
      items.finish();
      send([]);
      exchange.stream!.end(`${answer.line(nothing, [], true)}\n`);
    },
  };
}

/** Nothing was asked for: the model is there, as it always is. */
export function replyLoaded({ names }: ServedModel, exchange: Exchange, shape: OllamaParts['shape']): void {
  const line = { model: names[0], created_at: new Date().toISOString(), ...shape(nothing), done: true, done_reason: 'load' };
  exchange.reply(200, 'application/json', JSON.stringify(line));
}
