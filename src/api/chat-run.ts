/**
 * A conversation's way through the model, the same for every API that has conversations: the prompt is prepared and submitted, and what the
 * model writes is told as content, reasoning and calls. What is made of that is the route's.
 */
import type { TextDelta } from '../engine/output.js';
import type { PromptFacts } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import type { GrammarSpec } from '../grammar/spec.js';
import type { RequestTimes } from '../metrics/metrics.js';
import { reasoningStart } from '../parsing/reasoning-format.js';
import type { AnswerEvents, ChatEvents } from './answer-events.js';
import { ChatReader, PlainAnswer, type ReadingOptions } from './chat-reader.js';
import type { ChatRequest } from './chat-request.js';
import { constraintsOf } from './constraints.js';
import type { Context, Serving } from './context.js';
import type { Exchange } from './exchange.js';
import type { PreparedPrompt } from './prepare.js';
import { run, toRequest } from './run.js';
import type { ServedModel } from './served-model.js';
import { afterReasoningOf, planTools } from './tool-plan.js';

export interface ChatRun {
  readonly serving: Serving;
  readonly chat: ChatRequest;
  /** As the client sees it: "chatcmpl-…". */
  readonly id: string;
  /** What ids of calls begin with: "chatcmpl-tool-". A format may have ids of its own. */
  readonly callIdPrefix: string;
  readonly arrivalMs: number;
}

/** `answerTo` is called once, with the prompt, before the request is submitted. Throws as `run` and `Preparer.encode` do. */
export async function runChat(
  exchange: Exchange,
  context: Context,
  { serving, chat, id, callIdPrefix, arrivalMs }: ChatRun,
  answerTo: (prompt: PreparedPrompt) => ChatEvents,
): Promise<void> {
  const { generation, conversation } = chat;
  const { model } = serving;
  const { truncation } = generation;
  const prompt = await serving.preparer.prepare({ kind: 'messages', ...conversation, truncation });
  if (prompt.ids.length === 0) throw new LockstepError('invalid_value', 'The prompt cannot be empty.', { param: 'messages' });
  const { reading, grammar } = planReading(chat, model, prompt.text, callIdPrefix);
  const { badWords, thinkingBudget } = generation;
  const prompted = { text: prompt.text, answerPrefix: conversation.answerPrefix };
  const constraints = await constraintsOf(serving, { grammar, badWords, thinkingBudget }, prompted);
  if (exchange.aborted) return;
  const request = toRequest(id, prompt.ids, generation, constraints, model.maxModelLen);
  const answer = answerTo(prompt);
  const isPlain = reading.tools === null && reading.reasoning === null;
  const events = isPlain ? new PlainAnswer(answer) : new ReadAnswer(generation.sampling.n, reading, answer);
  const keepTokens = model.markup.tokensOf(reading.tools?.format ?? null, reading.reasoning?.format ?? null);
  run(context, serving, exchange, request, { generation, keepTokens, arrivalMs }, events);
}

/** Tells of each choice's text what its reader makes of it. */
class ReadAnswer implements AnswerEvents {
  readonly #readers: readonly ChatReader[];
  readonly #answer: ChatEvents;

  constructor(numChoices: number, reading: ReadingOptions, answer: ChatEvents) {
    this.#readers = Array.from({ length: numChoices }, () => new ChatReader(reading));
    this.#answer = answer;
  }

  prompt(facts: PromptFacts): void {
    this.#answer.prompt(facts);
  }

  delta(delta: TextDelta): void {
    this.#answer.delta(this.#readers[delta.choice]!.read(delta));
  }

  finish(times: RequestTimes): void {
    this.#answer.finish(times);
  }
}

/** What is looked for in the answer, and what it must be. */
function planReading(
  { tools, generation, conversation, includeReasoning }: ChatRequest,
  { markup }: ServedModel,
  promptText: string,
  callIdPrefix: string,
): { readonly reading: ReadingOptions; readonly grammar: GrammarSpec | null } {
  const plan = tools === null ? null : planTools(tools, markup.toolFormat!, generation.grammar, callIdPrefix);
  const grammar = plan === null ? generation.grammar : plan.grammar;
  const format = markup.reasoningFormat;
  const common = { tools: plan?.reading ?? null, includeReasoning };
  if (format === null) return { reading: { ...common, reasoning: null, reasoningEndId: null }, grammar };
  const start = reasoningStart(format, promptText, conversation.answerPrefix);
  const reasoning = start === 'over' ? null : { format, begun: start === 'begun' };
  return {
    reading: { ...common, reasoning, reasoningEndId: markup.tokenIdOf(format.end) },
    grammar: grammar && afterReasoningOf(format, start, grammar),
  };
}
