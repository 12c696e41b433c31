/** The text of one choice as events: reasoning, content, calls. Without anything to look for, all is content. */
import type { TextDelta } from '../engine/output.js';
import type { ParsedEvent } from '../parsing/event-list.js';
import { OutputParser, type ParserOptions } from '../parsing/output-parser.js';
import type { ChatDelta } from './answer-events.js';

export interface ReadingOptions extends ParserOptions {
  /** The id that ends reasoning, where it is one. */
  readonly reasoningEndId: number | null;
  readonly includeReasoning: boolean;
}

const nothing: readonly ParsedEvent[] = [];

export class ChatReader {
  readonly #options: ReadingOptions;
  readonly #parser: OutputParser | null;
  #hasCalls = false;

  constructor(options: ReadingOptions) {
    this.#options = options;
    this.#parser = options.tools === null && options.reasoning === null ? null : new OutputParser(options);
  }

  read({ choice, text, ids, logprobs, finishReason, stopReason, error }: TextDelta): ChatDelta {
    const parser = this.#parser;
    if (parser === null) {
      const events: readonly ParsedEvent[] = text === '' ? nothing : [{ type: 'content', text }];
      return { choice, events, ids, reasoningTokens: 0, logprobs, finishReason, stopReason, error };
    }
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
