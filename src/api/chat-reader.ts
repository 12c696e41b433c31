/** The text of one choice as events: reasoning, content, calls. */
import type { TextDelta } from '../engine/output.js';
import type { PromptFacts } from '../engine/request.js';
import type { RequestTimes } from '../metrics/metrics.js';
import type { ParsedEvent } from '../parsing/event-list.js';
import { OutputParser, type ParserOptions } from '../parsing/output-parser.js';
import type { AnswerEvents, ChatDelta, ChatEvents } from './answer-events.js';

export interface ReadingOptions extends ParserOptions {
  /** The id that ends reasoning, where it is one. */
  readonly reasoningEndId: number | null;
  readonly includeReasoning: boolean;
}

const nothing: readonly ParsedEvent[] = [];

/**
 * An answer in which there is nothing to look for: all is content. Its choices need no reader, as each object between a token and its event is read
 * from memory for every token.
 */
export class PlainAnswer implements AnswerEvents {
  readonly #answer: ChatEvents;

  constructor(answer: ChatEvents) {
    this.#answer = answer;
  }

  prompt(facts: PromptFacts): void {
    this.#answer.prompt(facts);
  }

  delta({ choice, text, ids, logprobs, finishReason, stopReason, error }: TextDelta): void {
    const events: readonly ParsedEvent[] = text === '' ? nothing : [{ type: 'content', text }];
    this.#answer.delta({ choice, events, ids, reasoningTokens: 0, logprobs, finishReason, stopReason, error });
  }

  finish(times: RequestTimes): void {
    this.#answer.finish(times);
  }

  warm(): number {
    return this.#answer.warm?.() ?? 0;
  }
}

export class ChatReader {
  readonly #options: ReadingOptions;
  readonly #parser: OutputParser;
  #hasCalls = false;

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#parser = new OutputParser(options);
  }

  read({ choice, text, ids, logprobs, finishReason, stopReason, error }: TextDelta): ChatDelta {
    const parser = this.#parser;
    const wasReasoning = parser.inReasoning;
    const events = text === '' ? [] : parser.push(text);
    const reasoningTokens = this.#reasoningTokens(ids, wasReasoning, parser.inReasoning);
    if (finishReason !== null) events.push(...parser.end());
    this.#hasCalls ||= events.some(({ type }) => type === 'call');
    return {
      choice,
      events: this.#options.includeReasoning ? events : events.filter(({ type }) => type !== 'reasoning'),
      ids,
      reasoningTokens,
      logprobs,
      finishReason: finishReason === 'stop' && this.#hasCalls ? 'tool_calls' : finishReason,
      stopReason,
      error,
    };
  }

  /** Its markers count as well. Where the end is several tokens and comes with others in one step, those count too. */
  #reasoningTokens(ids: readonly number[], before: boolean, after: boolean): number {
    if (after) return ids.length;
    if (!before) return 0;
    const end = this.#options.reasoningEndId === null ? -1 : ids.indexOf(this.#options.reasoningEndId);
    return end < 0 ? ids.length : end + 1;
  }
}
