/** The answer to a chat, whole or streamed, in the shape of /v1/chat/completions. The JSON is `chat-chunks.ts`'s. */
import type { PromptFacts } from '../engine/request.js';
import { type ChatChoice, ChatChunks, type ChatEnvelope, wholeChat } from './chat-chunks.js';
import { finishReasonOf, type MessageShape, MessageWriter } from './chat-message.js';
import type { ChatRequest } from './chat-request.js';
import type { ChatEvents } from './chat-run.js';
import type { Context, Serving } from './context.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { StreamOptions } from './generation.js';
import { chatLogprobs, promptLogprobs } from './logprobs.js';
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
    finish() {
      const prompt = {
        logprobs: facts.promptLogprobs === null ? null : promptLogprobs(tokenizer, facts.promptLogprobs),
        tokenIds: generation.returnTokenIds ? Array.from(promptTokens) : null,
        text: promptText,
      };
      const body = wholeChat(envelope, choices, usage.whole(context.options.promptTokensDetails), prompt);
      exchange.reply(200, 'application/json', body);
    },
  };
}

export function streamedChat(parts: AnswerParts): ChatEvents {
  const { exchange, context, serving, streaming, promptTokens, promptText, envelope } = parts;
  const { generation } = parts.chat;
  const { tokenizer, blockSize } = serving.model;
  const shape = shapeOf(parts);
  const chunks = new ChatChunks(envelope, shape);
  const numChoices = generation.sampling.n;
  const usage = usageOf(parts);
  const choiceUsage = Array.from({ length: numChoices }, () => usageOf(parts));
  const ids = (values: ArrayLike<number>) => (generation.returnTokenIds ? JSON.stringify(Array.from(values)) : 'null');
  const usageSoFar = (choice: number) => (streaming.continuousUsage ? choiceUsage[choice]!.running() : '');

  /** With the first token, not before: the role chunk is what clients take for the first token. */
  const open = (): EventStream => {
    const opened = exchange.openStream(eventStreamType);
    for (let choice = 0; choice < numChoices; choice++) {
      opened.send(chunks.role(choice, ids(promptTokens), promptText, usageSoFar(choice)));
      if (envelope.echo !== '') opened.send(chunks.echo(choice, usageSoFar(choice)));
    }
    return opened;
  };
  return {
    prompt(facts) {
      usage.promptKnown(promptTokens.length, facts.cachedTokens, blockSize);
    },
    delta(delta) {
      const stream = exchange.stream ?? open();
      usage.count(delta);
      if (streaming.continuousUsage) choiceUsage[delta.choice]!.count(delta);
      // Markup is nothing that is said; but a chunk that says nothing may still have to show its tokens.
      const isSilent = shape.isParsed && delta.events.length === 0 && delta.finishReason === null;
      if (isSilent && delta.logprobs === null && !generation.returnTokenIds) return;
      const logprobs = delta.logprobs === null ? 'null' : JSON.stringify(chatLogprobs(tokenizer, delta.logprobs, generation.tokensAsIds));
      stream.send(chunks.delta(delta, logprobs, ids(delta.ids), usageSoFar(delta.choice), !streaming.includeUsage));
    },
    finish() {
      const last = streaming.includeUsage ? chunks.usage(usage.last(context.options.promptTokensDetails)) : '';
      exchange.stream?.end(`${last}data: [DONE]\n\n`);
    },
  };
}
