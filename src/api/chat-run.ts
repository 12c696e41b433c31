/**
 * A conversation's way through the model, the same for every API that has conversations: the prompt is prepared and submitted, and what the
 * model writes is told as text, thoughts and calls. What is made of that is the route's.
 */
import type { TextDelta } from '../engine/output.js';
import type { PromptFacts } from '../engine/request.js';
import type { ParsedEvent } from '../parsing/event-list.js';
import type { ChatRequest } from './chat-request.js';
import type { Context, Serving } from './context.js';
import type { Exchange } from './exchange.js';
import type { PreparedPrompt } from './prepare.js';
import { type AnswerEvents, run, toRequest } from './run.js';

/** What a step made of one choice of a conversation. */
export interface ChatDelta extends Omit<TextDelta, 'text' | 'finishReason'> {
  /** Reasoning, content and calls in the order in which they were written; may be empty. */
  readonly events: readonly ParsedEvent[];
  readonly finishReason: TextDelta['finishReason'] | 'tool_calls';
}

/** What a route makes of a conversation's answer, as in `AnswerEvents`. */
export interface ChatEvents {
  prompt(facts: PromptFacts): void;
  delta(delta: ChatDelta): void;
  /** Every choice has ended. */
  finish(): void;
}

export interface ChatRun {
  readonly serving: Serving;
  readonly chat: ChatRequest;
  /** As the client sees it: "chatcmpl-…". */
  readonly id: string;
  readonly arrivalMs: number;
}

/** `answerTo` is called once, with the prompt, before the request is submitted. Throws as `run` and `Preparer.encode` do. */
export async function runChat(
  exchange: Exchange,
  context: Context,
  { serving, chat, id, arrivalMs }: ChatRun,
  answerTo: (prompt: PreparedPrompt) => ChatEvents,
): Promise<void> {
  const { generation, conversation } = chat;
  const { truncation } = generation;
  const prompt = await serving.preparer.prepare({ kind: 'messages', ...conversation, truncation });
  if (exchange.aborted) return;
  const request = toRequest(id, prompt.ids, generation, serving.model.maxModelLen);
  const answer = answerTo(prompt);
  const events: AnswerEvents = {
    prompt: (facts) => answer.prompt(facts),
    delta: (delta) => answer.delta(asContent(delta)),
    finish: () => answer.finish(),
  };
  run(context, serving, exchange, request, { generation, arrivalMs }, events);
}

const nothing: readonly ParsedEvent[] = [];

/** All that the model writes is content. */
function asContent({ choice, text, ids, logprobs, finishReason, stopReason, message }: TextDelta): ChatDelta {
  const events = text === '' ? nothing : [{ type: 'content' as const, text }];
  return { choice, events, ids, logprobs, finishReason, stopReason, message };
}
