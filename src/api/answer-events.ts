/** What the routes are told of an answer, as text or as the events of a conversation. */
import type { TextDelta } from '../engine/output.js';
import type { PromptFacts } from '../engine/request.js';
import type { RequestTimes } from '../metrics/metrics.js';
import type { ParsedEvent } from '../parsing/event-list.js';

/** What a route makes of a prompt's answer. Errors never get here: they are the exchange's end. */
export interface AnswerEvents {
  prompt(facts: PromptFacts): void;
  delta(delta: TextDelta): void;
  /** Every choice has ended. */
  finish(times: RequestTimes): void;
  /** See the engine's `RequestEvents`. */
  warm?(): number;
}

/** What a step made of one choice of a conversation. */
export interface ChatDelta extends Omit<TextDelta, 'text' | 'finishReason'> {
  /** Reasoning, content and calls in the order in which they were written; may be empty. */
  readonly events: readonly ParsedEvent[];
  /** How many of the ids were reasoning. */
  readonly reasoningTokens: number;
  readonly finishReason: TextDelta['finishReason'] | 'tool_calls';
}

/** What a route makes of a conversation's answer, as in `AnswerEvents`. */
export interface ChatEvents {
  prompt(facts: PromptFacts): void;
  delta(delta: ChatDelta): void;
  /** Every choice has ended. */
  finish(times: RequestTimes): void;
  warm?(): number;
}
