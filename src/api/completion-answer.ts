/**
 * The answer to a completion: the deltas of all its prompts joined into one reply, whole or streamed. Choice i of prompt p has index
 * p * n + i. The JSON is `completion-chunks.ts`'s.
 */
import type { TextDelta } from '../engine/output.js';
import type { PromptFacts } from '../engine/request.js';
import type { RequestTimes } from '../metrics/metrics.js';
import type { AnswerEvents } from './answer-events.js';
import { type CompletionChoice, CompletionChunks, type CompletionEnvelope, wholeCompletion } from './completion-chunks.js';
import type { Context, Serving } from './context.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { Generation, StreamOptions } from './generation.js';
import { CompletionLogprobsWriter, promptLogprobs } from './logprobs.js';
import { metricsField, requestMetrics } from './request-metrics.js';
import { runningUsage, UsageCounter } from './usage.js';

/** One prompt: its text, where it came as text or is to be echoed, and its ids. */
export interface Prompt {
  readonly text: string;
  readonly ids: Int32Array;
}

export interface CompletionRequest {
  readonly generation: Generation;
  readonly streaming: StreamOptions;
  readonly echo: boolean;
  /** max_tokens 0: the prompt alone is wanted. */
  readonly onlyPrompt: boolean;
}

/** How an answer is written; whole and streamed are the two kinds. */
interface AnswerWriter {
  promptKnown(prompt: number, facts: PromptFacts): void;
  delta(prompt: number, index: number, delta: TextDelta): void;
  finish(usage: UsageCounter, times: RequestTimes): void;
}

/** The events of each prompt, joined: counted over all of them, and finished with the last. */
export function joinPrompts(
  prompts: readonly Prompt[],
  { generation }: CompletionRequest,
  { model }: Serving,
  writer: AnswerWriter,
): AnswerEvents[] {
  const { n } = generation.sampling;
  const usage = new UsageCounter();
  for (const { ids } of prompts) usage.promptTokens += ids.length;
  let numOpen = prompts.length;
  return prompts.map(({ ids }, prompt) => ({
    prompt(facts) {
      if (prompt === 0) usage.promptKnown(ids.length, facts.cachedTokens, model.blockSize);
      writer.promptKnown(prompt, facts);
    },
    delta(delta) {
      usage.completionTokens += delta.ids.length;
      writer.delta(prompt, prompt * n + delta.choice, delta);
    },
    finish(times) {
      if (--numOpen === 0) writer.finish(usage, times);
    },
  }));
}

interface AnswerParts {
  readonly exchange: Exchange;
  readonly context: Context;
  readonly serving: Serving;
  readonly completion: CompletionRequest;
  readonly prompts: readonly Prompt[];
  readonly envelope: CompletionEnvelope;
}

/** null: not shown; the times of several choices are not those of the request. */
function metricsOf({ completion, prompts, context }: AnswerParts, times: RequestTimes): object | null {
  const isOne = prompts.length === 1 && completion.generation.sampling.n === 1;
  return context.options.perRequestMetrics && isOne ? requestMetrics(times) : null;
}

/** Log-probabilities of one choice, or null where none were asked for. */
function logprobsWriters({ completion, prompts, serving }: AnswerParts): (CompletionLogprobsWriter | null)[] {
  const { sampling, tokensAsIds } = completion.generation;
  const { n, numLogprobs } = sampling;
  const { tokenizer } = serving.model;
  const writer = () => (numLogprobs === null ? null : new CompletionLogprobsWriter(tokenizer, tokensAsIds));
  return Array.from({ length: prompts.length * n }, writer);
}

/** Text and log-probabilities of an echoed prompt go before a choice's own. */
function echoed(completion: CompletionRequest, { ids, text }: Prompt, facts: PromptFacts, writer: CompletionLogprobsWriter | null): string {
  if (!completion.echo) return '';
  writer?.pushFirst(ids[0]!);
  writer?.push(facts.promptLogprobs ?? []);
  return text;
}

export function wholeCompletionAnswer(parts: AnswerParts): AnswerWriter {
  const { exchange, context, serving, completion, prompts, envelope } = parts;
  const { returnTokenIds, sampling } = completion.generation;
  const { n } = sampling;
  const writers = logprobsWriters(parts);
  const choices = writers.map((_, index): CompletionChoice => {
    const promptTokenIds = returnTokenIds ? Array.from(prompts[Math.floor(index / n)]!.ids) : null;
    const tokenIds = returnTokenIds ? [] : null;
    return { text: '', logprobs: null, finishReason: null, stopReason: null, tokenIds, promptLogprobs: null, promptTokenIds };
  });
  return {
    promptKnown(prompt, facts) {
      const shown = facts.promptLogprobs === null ? null : promptLogprobs(serving.model.tokenizer, facts.promptLogprobs);
      for (let index = prompt * n; index < (prompt + 1) * n; index++) {
        choices[index]!.promptLogprobs = shown;
        choices[index]!.text = echoed(completion, prompts[prompt]!, facts, writers[index]!);
      }
    },
    delta(_prompt, index, delta) {
      const choice = choices[index]!;
      choice.finishReason = delta.finishReason;
      choice.stopReason = delta.stopReason;
      if (completion.onlyPrompt) return;
      choice.text += delta.text;
      choice.tokenIds?.push(...delta.ids);
      if (delta.logprobs !== null) writers[index]?.push(delta.logprobs);
    },
    finish(usage, times) {
      choices.forEach((choice, index) => {
        choice.logprobs = writers[index]?.take() ?? null;
      });
      const counted = usage.whole(context.options.promptTokensDetails);
      exchange.reply(200, 'application/json', wholeCompletion(envelope, choices, counted, metricsOf(parts, times)));
    },
  };
}

export function streamedCompletion(parts: AnswerParts): AnswerWriter {
  const { exchange, context, completion, prompts, envelope } = parts;
  const { promptTokensDetails } = context.options;
  const { streaming, generation, onlyPrompt } = completion;
  const chunks = new CompletionChunks(envelope);
  const writers = logprobsWriters(parts);
  const numTokens = new Int32Array(writers.length).fill(-1); // of each choice; -1: nothing sent yet
  const facts: PromptFacts[] = prompts.map(() => ({ cachedTokens: 0, queueMs: 0, promptLogprobs: null }));
  const ids = (values: Iterable<number>) => (generation.returnTokenIds ? JSON.stringify(Array.from(values)) : 'null');
  return {
    promptKnown(prompt, known) {
      facts[prompt] = known;
    },
    delta(prompt, index, delta) {
      const isFirst = numTokens[index] === -1;
      const writer = writers[index]!;
      const before = isFirst ? echoed(completion, prompts[prompt]!, facts[prompt]!, writer) : '';
      numTokens[index] = Math.max(0, numTokens[index]!) + delta.ids.length;
      if (!onlyPrompt && delta.logprobs !== null) writer?.push(delta.logprobs);
      const piece = {
        index,
        text: onlyPrompt ? before : before + delta.text,
        logprobs: writer === null ? 'null' : JSON.stringify(writer.take()),
        tokenIds: ids(onlyPrompt ? [] : delta.ids),
        promptTokenIds: isFirst ? ids(prompts[prompt]!.ids) : 'null',
        finishReason: delta.finishReason,
        stopReason: delta.stopReason,
      };
      const usage = streaming.continuousUsage ? runningUsage(prompts[prompt]!.ids.length, numTokens[index]!) : '';
      const stream = exchange.stream ?? exchange.openStream(eventStreamType);
      stream.send(chunks.piece(piece, usage, !streaming.includeUsage));
    },
    finish(usage, times) {
      const last = streaming.includeUsage ? chunks.usage(usage.last(promptTokensDetails), metricsField(metricsOf(parts, times))) : '';
      exchange.stream?.end(`${last}data: [DONE]\n\n`);
    },
  };
}
