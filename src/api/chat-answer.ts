/** The answer to a chat, whole or streamed, in the shape of /v1/chat/completions. The JSON is `chat-chunks.ts`'s. */
import type { PromptFacts } from '../engine/request.js';
import { type ChatChoice, ChatChunks, type ChatEnvelope, contentOf, wholeChat } from './chat-chunks.js';
import type { ChatEvents } from './chat-run.js';
import type { Context, Serving } from './context.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { Generation, StreamOptions } from './generation.js';
import { chatLogprobs, promptLogprobs } from './logprobs.js';
import type { EventStream } from './sse.js';
import { runningUsage, UsageCounter } from './usage.js';

interface AnswerParts {
  readonly exchange: Exchange;
  readonly context: Context;
  readonly serving: Serving;
  readonly generation: Generation;
  readonly streaming: StreamOptions;
  readonly promptTokens: Int32Array;
  /** null: not asked for. */
  readonly promptText: string | null;
  readonly envelope: ChatEnvelope;
}

export function wholeChatAnswer({ exchange, context, serving, generation, promptTokens, promptText, envelope }: AnswerParts): ChatEvents {
  const { tokenizer, blockSize } = serving.model;
  const usage = new UsageCounter();
  usage.promptTokens = promptTokens.length;
  const choices = Array.from({ length: generation.sampling.n }, (): ChatChoice => {
    const tokenIds = generation.returnTokenIds ? [] : null;
    const logprobs = generation.sampling.numLogprobs === null ? null : { content: [] };
    return { text: envelope.echo, logprobs, finishReason: null, stopReason: null, tokenIds };
  });
  let facts: PromptFacts = { cachedTokens: 0, queueMs: 0, promptLogprobs: null };
  return {
    prompt(known) {
      facts = known;
      usage.promptKnown(promptTokens.length, known.cachedTokens, blockSize);
    },
    delta(delta) {
      const choice = choices[delta.choice]!;
      choice.text += contentOf(delta);
      usage.completionTokens += delta.ids.length;
      choice.tokenIds?.push(...delta.ids);
      if (delta.logprobs !== null)
        choice.logprobs?.content.push(...chatLogprobs(tokenizer, delta.logprobs, generation.tokensAsIds).content);
      choice.finishReason = delta.finishReason;
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

export function streamedChat({
  exchange,
  context,
  serving,
  generation,
  streaming,
  promptTokens,
  promptText,
  envelope,
}: AnswerParts): ChatEvents {
  const { tokenizer, blockSize } = serving.model;
  const chunks = new ChatChunks(envelope);
  const numChoices = generation.sampling.n;
  const choiceTokens = new Int32Array(numChoices);
  const usage = new UsageCounter();
  usage.promptTokens = promptTokens.length;
  const ids = (values: Int32Array) => (generation.returnTokenIds ? JSON.stringify(Array.from(values)) : 'null');
  const usageAfter = (numTokens: number) => (streaming.continuousUsage ? runningUsage(promptTokens.length, numTokens) : '');

  /** With the first token, not before: the role chunk is what clients take for the first token. */
  const open = (): EventStream => {
    const opened = exchange.openStream(eventStreamType);
    for (let choice = 0; choice < numChoices; choice++) {
      opened.send(chunks.role(choice, ids(promptTokens), promptText, usageAfter(0)));
      if (envelope.echo !== '') opened.send(chunks.echo(choice, usageAfter(0)));
    }
    return opened;
  };
  return {
    prompt(facts) {
      usage.promptKnown(promptTokens.length, facts.cachedTokens, blockSize);
    },
    delta(delta) {
      const stream = exchange.stream ?? open();
      usage.completionTokens += delta.ids.length;
      choiceTokens[delta.choice]! += delta.ids.length;
      const logprobs = delta.logprobs === null ? 'null' : JSON.stringify(chatLogprobs(tokenizer, delta.logprobs, generation.tokensAsIds));
      const sofar = usageAfter(choiceTokens[delta.choice]!);
      stream.send(chunks.delta(delta, logprobs, ids(delta.ids), sofar, !streaming.includeUsage));
    },
    finish() {
      const last = streaming.includeUsage ? chunks.usage(usage.last(context.options.promptTokensDetails)) : '';
      exchange.stream?.end(`${last}data: [DONE]\n\n`);
    },
  };
}
