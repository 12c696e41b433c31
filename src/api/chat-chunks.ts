/**
 * The JSON of chat answers: chunks of a stream, and the whole. A chunk is one string: head and tail are made once for a request, and only
 * the delta is escaped, since a JSON.stringify of the whole envelope for every token costs four times as much.
 * Which fields are null and which are absent is vLLM's choice, and clients have come to rely on it.
 */
import { deltaJson, finishReasonOf, type MessageShape, type MessageWriter } from './chat-message.js';
import type { ChatDelta } from './chat-run.js';
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
  /** [choices] what stands before a piece of a message. */
  readonly #choiceHeads: string[] = [];

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
    const message = deltaJson(delta.events, this.#shape);
    const isPlain = delta.finishReason === null && logprobs === 'null' && tokenIds === 'null' && usage === '';
    if (isPlain) return this.#choiceHead(delta.choice) + message + plainTail;
    const choice = `{"index":${delta.choice},"delta":${message},"logprobs":${logprobs}`;
    const tail = `,"token_ids":${tokenIds}}]${usageField(usage)}`;
    if (delta.finishReason === null) return `${this.#head}${choice},"finish_reason":null${tail}}\n\n`;
    const finish = `,"finish_reason":"${finishReasonOf(delta.finishReason, this.#shape)}","stop_reason":${JSON.stringify(delta.stopReason)}`;
    return `${this.#head}${choice}${finish}${tail}${withFingerprint ? this.#fingerprint : ''}}\n\n`;
  }

  #choiceHead(choice: number): string {
    return (this.#choiceHeads[choice] ??= `${this.#head}{"index":${choice},"delta":`);
  }

  usage(usage: string): string {
    return `${this.#head}]${usageField(usage)}${this.#fingerprint}}\n\n`;
  }
}

/** What stands behind a piece of a message that comes alone: nearly every event of a stream. */
const plainTail = ',"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n';

const usageField = (usage: string) => (usage === '' ? '' : `,"usage":${usage}`);

export function wholeChat(
  { id, created, model, fingerprint, role }: ChatEnvelope,
  choices: readonly ChatChoice[],
  usage: object,
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
    metrics: null,
  });
}
