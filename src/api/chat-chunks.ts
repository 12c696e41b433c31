/**
 * The JSON of chat answers: chunks of a stream, and the whole. A chunk is one string: head and tail are made once for a request, and only
 * the delta is escaped, since a JSON.stringify of the whole envelope for every token costs four times as much.
 * Which fields are null and which are absent is vLLM's choice, and clients have come to rely on it.
 */

import type { ChatDelta } from './answer-events.js';
import { deltaJson, finishReasonOf, type MessageShape, type MessageWriter } from './chat-message.js';
import { jsonText } from './json-text.js';
import type { ChatTokenLogprob } from './logprobs.js';

export interface ChatEnvelope {
  readonly id: string;
  readonly created: number; // Unix seconds
  readonly model: string;
  readonly fingerprint: string | null;
  readonly role: string;
  /** What stands before the text of every choice. */
  readonly echo: string;
}

export interface ChatChoice {
  readonly message: MessageWriter;
  logprobs: { content: ChatTokenLogprob[] } | null;
  finishReason: string | null;
  stopReason: string | number | null;
  tokenIds: number[] | null;
}

/** Makes the events of one stream; every method gives whole events, `data: …\n\n`. */
export class ChatChunks {
  readonly #head: string;
  readonly #fingerprint: string;
  readonly #role: string;
  readonly #echo: string;
  readonly #shape: MessageShape;
  /** [choices] what stands before a piece of content. */
  readonly #contentHeads: string[] = [];

  constructor({ id, created, model, fingerprint, role, echo }: ChatEnvelope, shape: MessageShape) {
    this.#shape = shape;
    this.#head = `data: {"id":${JSON.stringify(id)},"object":"chat.completion.chunk","created":${created},"model":${JSON.stringify(model)},"choices":[`;
    this.#fingerprint = `,"system_fingerprint":${JSON.stringify(fingerprint)}`;
    this.#role = JSON.stringify(role);
    this.#echo = JSON.stringify(echo);
  }

  /** The first chunk of a choice. `usage`: JSON, or '' for none. */
  role(choice: number, promptTokenIds: string, promptText: string | null, usage: string): string {
    const delta = `{"role":${this.#role},"content":""}`;
    const tail = `,"prompt_token_ids":${promptTokenIds},"prompt_text":${JSON.stringify(promptText)}}\n\n`;
    return `${this.#head}{"index":${choice},"delta":${delta},"logprobs":null,"finish_reason":null}]${usageField(usage)}${tail}`;
  }

  echo(choice: number, usage: string): string {
    return `${this.#head}{"index":${choice},"delta":{"content":${this.#echo}},"logprobs":null,"finish_reason":null}]${usageField(usage)}}\n\n`;
  }

  /** `withFingerprint`: on the chunk that ends a choice, where no usage chunk follows. */
  delta(delta: ChatDelta, logprobs: string, tokenIds: string, usage: string, withFingerprint: boolean): string {
    const isPlain = delta.finishReason === null && logprobs === 'null' && tokenIds === 'null' && usage === '';
    const content = isPlain ? contentOf(delta.events) : null;
    if (content !== null) return this.#contentHead(delta.choice) + jsonText(content) + contentTail;
    const message = deltaJson(delta.events, this.#shape);
    const choice = `{"index":${delta.choice},"delta":${message},"logprobs":${logprobs}`;
    const tail = `,"token_ids":${tokenIds}}]${usageField(usage)}`;
    if (delta.finishReason === null) return `${this.#head}${choice},"finish_reason":null${tail}}\n\n`;
    const finish = `,"finish_reason":"${finishReasonOf(delta.finishReason, this.#shape)}","stop_reason":${JSON.stringify(delta.stopReason)}`;
    return `${this.#head}${choice}${finish}${tail}${withFingerprint ? this.#fingerprint : ''}}\n\n`;
  }

  /** Reads a content head: a code of each cache line, of which those between are fetched with it. */
  warm(): number {
    const head = this.#contentHeads[0] ?? '';
    return head === '' ? 0 : head.charCodeAt(0) + head.charCodeAt(head.length >> 1) + head.charCodeAt(head.length - 1);
  }

  #contentHead(choice: number): string {
    return (this.#contentHeads[choice] ??= `${this.#head}{"index":${choice},"delta":{"content":`);
  }

  /** `metrics`: a field, or '' for none. */
  usage(usage: string, metrics: string): string {
    return `${this.#head}]${usageField(usage)}${this.#fingerprint}${metrics}}\n\n`;
  }
}

/** The text of events that are one piece of content, as nearly all are; null: they are something else. */
function contentOf(events: ChatDelta['events']): string | null {
  const only = events.length === 1 ? events[0]! : null;
  return only?.type === 'content' ? only.text : null;
}

/** What stands behind a piece of content that comes alone. */
const contentTail = '},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n';

const usageField = (usage: string) => (usage === '' ? '' : `,"usage":${usage}`);

export function wholeChat(
  { id, created, model, fingerprint, role }: ChatEnvelope,
  choices: readonly ChatChoice[],
  usage: object,
  metrics: object | null,
  prompt: { readonly logprobs: unknown; readonly tokenIds: number[] | null; readonly text: string | null },
): string {
  return JSON.stringify({
    id,
    object: 'chat.completion',
    created,
    model,
    choices: choices.map(({ message, logprobs, finishReason, stopReason, tokenIds }, index) => ({
      index,
      message: message.message(role),
      logprobs,
      finish_reason: finishReason,
      stop_reason: stopReason,
      token_ids: tokenIds,
      routed_experts: null,
    })),
    service_tier: null,
    system_fingerprint: fingerprint,
    usage,
    prompt_logprobs: prompt.logprobs,
    prompt_token_ids: prompt.tokenIds,
    prompt_text: prompt.text,
    kv_transfer_params: null,
    ec_transfer_params: null,
    metrics,
  });
}
