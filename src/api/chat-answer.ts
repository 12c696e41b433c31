/** The answer to a chat, whole or streamed, in the shape of /v1/chat/completions. The JSON is `chat-chunks.ts`'s. */
import type { PromptFacts } from '../engine/request.js';
import type { RequestTimes } from '../metrics/metrics.js';
import type { ChatDelta, ChatEvents } from './answer-events.js';
import { type ChatChoice, ChatChunks, type ChatEnvelope, wholeChat } from './chat-chunks.js';
import { finishReasonOf, type MessageShape, MessageWriter } from './chat-message.js';
import type { ChatRequest } from './chat-request.js';
import type { Context, Serving } from './context.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { StreamOptions } from './generation.js';
import { chatLogprobs, promptLogprobs } from './logprobs.js';
import { metricsField, requestMetrics } from './request-metrics.js';
import type { EventStream } from './sse.js';
import { UsageCounter } from './usage.js';

interface AnswerParts {
  readonly exchange: Exchange;
  readonly context: Context;
  readonly serving: Serving;
  readonly chat: ChatRequest;
  readonly streaming: StreamOptions;
  readonly promptTokens: Int32Array;
  /** null: not asked for. */
  readonly promptText: string | null;
  readonly envelope: ChatEnvelope;
}

/** Tokens of the answer, and those of its reasoning where that is told apart. */
function usageOf({ serving, promptTokens }: AnswerParts): UsageCounter {
  const usage = new UsageCounter();
  usage.promptTokens = promptTokens.length;
  if (serving.model.markup.reasoningFormat !== null) usage.reasoningTokens = 0;
  return usage;
}

/** null: not shown; the times of several choices are not those of the request. */
function metricsOf({ chat, context }: AnswerParts, times: RequestTimes): object | null {
  return context.options.perRequestMetrics && chat.generation.sampling.n === 1 ? requestMetrics(times) : null;
}

function shapeOf({ chat, serving }: AnswerParts): MessageShape {
  return { tools: chat.tools, isParsed: chat.tools !== null || serving.model.markup.reasoningFormat !== null };
}

export function wholeChatAnswer(parts: AnswerParts): ChatEvents {
  const { exchange, context, serving, promptTokens, promptText, envelope } = parts;
  const { generation } = parts.chat;
  const { tokenizer, blockSize } = serving.model;
  const shape = shapeOf(parts);
  const usage = usageOf(parts);
  const choices = Array.from({ length: generation.sampling.n }, (): ChatChoice => {
    const tokenIds = generation.returnTokenIds ? [] : null;
    const logprobs = generation.sampling.numLogprobs === null ? null : { content: [] };
    return { message: new MessageWriter(shape, envelope.echo), logprobs, finishReason: null, stopReason: null, tokenIds };
  });
  let facts: PromptFacts = { cachedTokens: 0, queueMs: 0, promptLogprobs: null };
  return {
    prompt(known) {
      facts = known;
      usage.promptKnown(promptTokens.length, known.cachedTokens, blockSize);
    },
    delta(delta) {
      const choice = choices[delta.choice]!;
      choice.message.push(delta.events);
      usage.count(delta);
      choice.tokenIds?.push(...delta.ids);
      if (delta.logprobs !== null)
        choice.logprobs?.content.push(...chatLogprobs(tokenizer, delta.logprobs, generation.tokensAsIds).content);
      choice.finishReason = finishReasonOf(delta.finishReason, shape);
      choice.stopReason = delta.stopReason;
    },
    finish(times) {
      const prompt = {
        logprobs: facts.promptLogprobs === null ? null : promptLogprobs(tokenizer, facts.promptLogprobs),
        tokenIds: generation.returnTokenIds ? Array.from(promptTokens) : null,
        text: promptText,
      };
      const counted = usage.whole(context.options.promptTokensDetails);
      const body = wholeChat(envelope, choices, counted, metricsOf(parts, times), prompt);
      exchange.reply(200, 'application/json', body);
    },
  };
}

export const streamedChat = (parts: AnswerParts): ChatEvents => new StreamedChat(parts);

class StreamedChat implements ChatEvents {
  readonly #parts: AnswerParts;
  readonly #isParsed: boolean;
  readonly #returnsIds: boolean;
  readonly #usage: UsageCounter;
  /** [n] where chunks tell it. */
  readonly #choiceUsage: readonly UsageCounter[] | null;
  readonly #chunks: ChatChunks;
  #stream: EventStream | null = null;

  constructor(parts: AnswerParts) {
    const { generation } = parts.chat;
    const shape = shapeOf(parts);
    this.#parts = parts;
    this.#isParsed = shape.isParsed;
    this.#returnsIds = generation.returnTokenIds;
    this.#usage = usageOf(parts);
    this.#choiceUsage = parts.streaming.continuousUsage ? Array.from({ length: generation.sampling.n }, () => usageOf(parts)) : null;
    this.#chunks = new ChatChunks(parts.envelope, shape);
  }

  prompt(facts: PromptFacts): void {
    const { serving, promptTokens } = this.#parts;
    this.#usage.promptKnown(promptTokens.length, facts.cachedTokens, serving.model.blockSize);
  }

  delta(delta: ChatDelta): void {
    const stream = this.#stream ?? this.#open();
    this.#usage.count(delta);
    if (this.#choiceUsage !== null) this.#choiceUsage[delta.choice]!.count(delta);
    // Markup is nothing that is said; but a chunk that says nothing may still have to show its tokens.
    const isSilent = this.#isParsed && delta.events.length === 0 && delta.finishReason === null;
    if (isSilent && delta.logprobs === null && !this.#returnsIds) return;
    const withFingerprint = delta.finishReason !== null && !this.#parts.streaming.includeUsage;
    stream.send(this.#chunks.delta(delta, this.#logprobs(delta), this.#ids(delta.ids), this.#usageSoFar(delta.choice), withFingerprint));
  }

  warm(): number {
    return this.#usage.completionTokens + this.#chunks.warm() + (this.#stream?.warm() ?? 0);
  }

  finish(times: RequestTimes): void {
    this.#stream?.end(`${this.#parts.streaming.includeUsage ? this.#lastChunk(times) : ''}data: [DONE]\n\n`);
  }

  #lastChunk(times: RequestTimes): string {
    const usage = this.#usage.last(this.#parts.context.options.promptTokensDetails);
    return this.#chunks.usage(usage, metricsField(metricsOf(this.#parts, times)));
  }

  /** With the first token, not before: the role chunk is what clients take for the first token. */
  #open(): EventStream {
    const { exchange, chat, promptTokens, promptText, envelope } = this.#parts;
    const stream = exchange.openStream(eventStreamType);
    for (let choice = 0; choice < chat.generation.sampling.n; choice++) {
      stream.send(this.#chunks.role(choice, this.#ids(promptTokens), promptText, this.#usageSoFar(choice)));
      if (envelope.echo !== '') stream.send(this.#chunks.echo(choice, this.#usageSoFar(choice)));
    }
    this.#stream = stream;
    return stream;
  }

  #logprobs({ logprobs }: ChatDelta): string {
    if (logprobs === null) return 'null';
    const { serving, chat } = this.#parts;
    return JSON.stringify(chatLogprobs(serving.model.tokenizer, logprobs, chat.generation.tokensAsIds));
  }

  #ids(values: ArrayLike<number>): string {
    return this.#returnsIds ? JSON.stringify(Array.from(values)) : 'null';
  }

  #usageSoFar(choice: number): string {
    return this.#choiceUsage === null ? '' : this.#choiceUsage[choice]!.running();
  }
}
