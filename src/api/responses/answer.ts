/** The answer of /v1/responses, whole or streamed: items of one choice, and the events that tell of them. */

import type { ChatDelta, ChatEvents } from '../answer-events.js';
import { ChatItems, type ItemListener } from '../chat-items.js';
import { boundedMessage } from '../error-body.js';
import { type Exchange, eventStreamType } from '../exchange.js';
import type { JsonObject } from '../json-object.js';
import { jsonText } from '../json-text.js';
import { type ChatTokenLogprob, chatLogprobs } from '../logprobs.js';
import type { ServedModel } from '../served-model.js';
import { namedEvent } from '../sse.js';
import { UsageCounter } from '../usage.js';
import {
  itemObject,
  type OutputItem,
  outputItem,
  partOf,
  type ResponseHead,
  type ResponseStatus,
  responseObject,
  responseUsage,
} from './response-object.js';

export interface ResponseParts {
  readonly exchange: Exchange;
  readonly head: ResponseHead;
  readonly model: ServedModel;
  readonly promptLen: number;
  /** Called with the response once it is whole. */
  readonly keep: (json: string, output: readonly JsonObject[]) => void;
  /** Called with the response as it is, in all other states of it; left out: it is made while the client waits. */
  readonly noteState?: (json: string) => void;
}

const noTokens: readonly ChatTokenLogprob[] = [];

const statuses: Readonly<Record<string, ResponseStatus>> = { length: 'incomplete', abort: 'cancelled' };

/** What one choice has become: its items, its counts, its end. */
class ResponseAnswer {
  readonly usage = new UsageCounter();
  readonly outputs: OutputItem[] = [];
  readonly items: ChatItems;
  status: ResponseStatus;
  /** Log-probabilities of the newest delta; those of calls and reasoning have no place in the response. */
  tokens = noTokens;
  readonly #parts: ResponseParts;

  constructor(parts: ResponseParts, listener: Partial<ItemListener> = {}) {
    this.#parts = parts;
    this.status = parts.noteState === undefined ? 'in_progress' : 'queued';
    this.usage.promptTokens = parts.promptLen;
    this.usage.reasoningTokens = 0;
    this.items = new ChatItems({
      begin: (item, index) => {
        this.outputs.push(outputItem(item, this.#withLogprobs));
        listener.begin?.(item, index);
      },
      more: (item, index, piece) => listener.more?.(item, index, piece),
      end: (item, index) => listener.end?.(item, index),
    });
  }

  get #withLogprobs(): boolean {
    return this.#parts.head.generation.sampling.numLogprobs !== null;
  }

  push(delta: ChatDelta): void {
    const { events, finishReason, logprobs } = delta;
    this.usage.count(delta);
    if (finishReason !== null) this.status = statuses[finishReason] ?? 'completed';
    this.tokens = logprobs === null ? noTokens : chatLogprobs(this.#parts.model.tokenizer, logprobs).content;
    this.items.push(events);
    const last = this.outputs.at(-1);
    if (last?.item.type === 'content') last.logprobs?.push(...this.tokens);
  }

  get output(): JsonObject[] {
    return this.outputs.map((each) => itemObject(each, 'completed'));
  }

  /** The response as it is now. */
  object(error?: { code: string; message: string }): JsonObject {
    const { head } = this.#parts;
    const isBegun = this.status === 'in_progress' || this.status === 'queued';
    const [output, usage] = isBegun ? [[], null] : [this.output, responseUsage(this.usage)];
    return responseObject(head, { status: this.status, output, usage, ...(error === undefined ? {} : { error }) });
  }
}

export function wholeResponse(parts: ResponseParts): ChatEvents {
  const { exchange, model, promptLen, keep } = parts;
  const answer = new ResponseAnswer(parts);
  return {
    prompt: ({ cachedTokens }) => answer.usage.promptKnown(promptLen, cachedTokens, model.blockSize),
    delta: (delta) => answer.push(delta),
    finish() {
      const json = JSON.stringify(answer.object());
      keep(json, answer.output);
      exchange.reply(200, 'application/json', json);
    },
  };
}

export function streamedResponse(parts: ResponseParts): ChatEvents {
  const { exchange, model, promptLen, keep, noteState } = parts;
  let sequence = 0;
  /** Keys in the order of vLLM's. `before` and `after` the number: JSON without braces. */
  const event = (type: string, before: string, after = '') =>
    namedEvent(type, `{${before},"sequence_number":${sequence++},${after === '' ? '' : `${after},`}"type":"${type}"}`);
  const send = (type: string, before: string, after = '') => exchange.stream!.send(event(type, before, after));
  const json = JSON.stringify;

  const answer = new ResponseAnswer(parts, {
    begin(item, index) {
      const output = answer.outputs[index]!;
      send('response.output_item.added', `"item":${json(itemObject(output, 'in_progress'))},"output_index":${index}`);
      if (item.type === 'call') return;
      const part = json(partOf({ ...output, logprobs: [] }, ''));
      send('response.content_part.added', `"content_index":0,"item_id":"${output.id}","output_index":${index},"part":${part}`);
    },
    more(item, index, piece) {
      const { id } = answer.outputs[index]!;
      const place = `"item_id":"${id}","output_index":${index}`;
      if (item.type === 'call') return send('response.function_call_arguments.delta', `"delta":${jsonText(piece)},${place}`);
      const head = `"content_index":0,"delta":${jsonText(piece)},"item_id":"${id}"`;
      if (item.type === 'reasoning') return send('response.reasoning_text.delta', `${head},"output_index":${index}`);
      send('response.output_text.delta', `${head},"logprobs":${json(answer.tokens)},"output_index":${index}`);
    },
    end(item, index) {
      const output = answer.outputs[index]!;
      const place = `"item_id":"${output.id}","output_index":${index}`;
      const whole = itemObject(output, 'completed');
      if (item.type === 'call') {
        send('response.function_call_arguments.done', `"arguments":${json(whole['arguments'])},${place},"name":${json(item.name)}`);
      } else {
        const text = `"text":${json(item.text)}`;
        if (item.type === 'reasoning') send('response.reasoning_text.done', `"content_index":0,${place}`, text);
        else {
          const logprobs = `"logprobs":${json(output.logprobs ?? [])}`;
          send('response.output_text.done', `"content_index":0,"item_id":"${output.id}",${logprobs},"output_index":${index}`, text);
        }
        send('response.content_part.done', `"content_index":0,${place},"part":${json(partOf(output, item.text))}`);
      }
      send('response.output_item.done', `"item":${json(whole)},"output_index":${index}`);
    },
  });

  /** Events that show the response as it is now. */
  const show = (types: readonly string[], error?: { code: string; message: string }) => {
    const response = json(answer.object(error));
    noteState?.(response);
    return types.map((type) => event(type, `"response":${response}`)).join('');
  };
  const open = () => {
    exchange.openStream(eventStreamType);
    exchange.errors = {
      ...exchange.errors,
      lastEvents(error) {
        answer.status = 'failed';
        return show(['response.failed'], { code: 'server_error', message: boundedMessage(error) });
      },
    };
    exchange.stream!.send(show(['response.created', `response.${answer.status}`]));
  };
  if (noteState !== undefined) open(); // in the background there is nobody to whom an error could be a reply
  return {
    prompt: ({ cachedTokens }) => answer.usage.promptKnown(promptLen, cachedTokens, model.blockSize),
    delta(delta) {
      if (exchange.stream === null) open();
      if (answer.status === 'queued') {
        answer.status = 'in_progress';
        exchange.stream!.send(show(['response.in_progress']));
      }
      answer.push(delta);
    },
    finish() {
      answer.items.finish();
      const response = json(answer.object());
      keep(response, answer.output);
      exchange.stream!.end(event('response.completed', `"response":${response}`));
    },
  };
}
