/**
 * One prompt's way through the engine, the same for every route: ids of requests, abort when the client goes away, measured times.
 * What is made of the deltas is the route's.
 */
import { randomUUID } from 'node:crypto';
import { BeamSearch } from '../engine/beam-search.js';
import type { EngineClient } from '../engine/client.js';
import { generate, type TextDelta, type TextEvents } from '../engine/output.js';
import type { GenerationRequest, PromptFacts } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import type { RequestTimer } from '../metrics/metrics.js';
import type { AnswerEvents } from './answer-events.js';
import type { Constraints } from './constraints.js';
import type { Context, Serving } from './context.js';
import { logPrompt, type OutputLog, outputLog } from './door/text-log.js';
import type { RequestSpan } from './door/tracing.js';
import { asLockstepError } from './error-body.js';
import type { Exchange } from './exchange.js';
import { failExchange } from './fail-exchange.js';
import type { Generation } from './generation.js';
import { withContextLimit } from './generation.js';
import type { JsonObject } from './json-object.js';
import { checkVocabulary } from './prepare.js';
import { everyTokens } from './stream-interval.js';

const requestIdLenMax = 256;
let numRequests = 0;

/** 16 digits of a UUID, the last, of which all but two bits are random: Node keeps random bytes in store for those, and asks the system for others. */
const randomId = () => randomUUID().replaceAll('-', '').slice(-16);

/** `chatcmpl-…`; what the client chose (X-Request-Id, request_id) or random. */
export function responseId(prefix: string, exchange: Exchange, body: JsonObject): string {
  const given = exchange.header('x-request-id') ?? (body['request_id'] as string | null | undefined);
  return `${prefix}-${given ? given.slice(0, requestIdLenMax) : randomId()}`;
}

/** Engine ids are unique even where clients choose equal ones. */
export const engineId = (id: string) => `${id}#${++numRequests}`;

const beamsWithGrammar = new LockstepError('invalid_value', 'The form of the output cannot be set with `use_beam_search`.', {
  param: 'use_beam_search',
});

export function toRequest(
  id: string,
  promptTokens: Int32Array,
  generation: Generation,
  { grammar, badWords, thinking, vocabulary }: Constraints,
  maxModelLen: number,
): GenerationRequest {
  if (generation.beams !== null && grammar !== null) throw beamsWithGrammar;
  return {
    id: engineId(id),
    promptTokens,
    sampling: { ...generation.sampling, badWords, thinking },
    stop: withContextLimit(generation, promptTokens.length, maxModelLen),
    priority: generation.priority,
    cacheSalt: generation.cacheSalt,
    ...(grammar !== null && { grammar }),
    ...(vocabulary !== null && { vocabulary }),
  };
}

export interface RunOptions {
  readonly generation: Generation;
  /** Special tokens that are text even where they are skipped. */
  readonly keepTokens?: ReadonlySet<number>;
  readonly arrivalMs: number;
}

/**
 * Submits; throws `queue_full` or `not_ready`, otherwise events follow. When the exchange is over, by its reply, by an error or because the
 * client went away, the engine is told to let go of the request.
 */
export function run(
  context: Context,
  { model }: Serving,
  exchange: Exchange,
  asked: GenerationRequest,
  { generation, keepTokens, arrivalMs }: RunOptions,
  answer: AnswerEvents,
): void {
  checkVocabulary(asked.promptTokens, model.vocabSize);
  const { caller } = exchange;
  const request = caller.share === null ? asked : { ...asked, share: caller.share };
  const engine = generation.beams === null ? model.engine : new BeamSearch(model.engine, generation.beams);
  const running = new Run({
    context,
    exchange,
    request,
    engine,
    answer: generation.streamInterval > 1 ? everyTokens(generation.streamInterval, answer) : answer,
    timer: context.metrics.track(request, arrivalMs),
    output: outputLog(context, request.id),
    span: context.tracer?.begin(exchange, request, model.names[0]!, arrivalMs) ?? null,
  });
  const { skipSpecialTokens } = generation;
  generate(engine, model.tokenizer, request, { skipSpecialTokens, ...(keepTokens && { keepTokens }) }, running);
  context.limits.spend(caller, request.promptTokens.length);
  logPrompt(context, model.tokenizer, request);
  exchange.onEnd(() => running.exchangeEnded());
}

interface RunParts {
  readonly context: Context;
  readonly exchange: Exchange;
  readonly request: GenerationRequest;
  readonly engine: Pick<EngineClient, 'abort'>;
  readonly answer: AnswerEvents;
  readonly timer: RequestTimer;
  readonly output: OutputLog | null;
  readonly span: RequestSpan | null;
}

/** A request that the engine has: what is counted of it, and its answer while somebody waits for that. */
class Run implements TextEvents {
  readonly #parts: RunParts;
  readonly #answer: AnswerEvents;
  readonly #timer: RequestTimer;
  readonly #output: OutputLog | null;
  readonly #span: RequestSpan | null;
  #numUnfinished: number;
  #numTokens = 0;
  /** The engine has more to say. */
  #isOpen = true;
  #failed = false;
  /** It has failed, or its exchange is over: nothing is told any more. */
  #isOver = false;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#answer = parts.answer;
    this.#timer = parts.timer;
    this.#output = parts.output;
    this.#span = parts.span;
    this.#numUnfinished = parts.request.sampling.n;
  }

  prompt(facts: PromptFacts): void {
    this.#timer.prompt(facts.cachedTokens, facts.queueMs);
    this.#span?.prompt(facts.queueMs);
    if (this.#isOver) return;
    try {
      this.#answer.prompt(facts);
    } catch (error) {
      this.#fail(error);
    }
  }

  delta(delta: TextDelta): void {
    const { choice, text, ids, finishReason } = delta;
    this.#timer.tokens(choice, ids.length, finishReason);
    this.#numTokens += ids.length;
    this.#span?.tokens(ids.length);
    this.#output?.push(choice, text, finishReason);
    if (this.#isOver) return;
    if (finishReason !== null) this.#numUnfinished--;
    try {
      if (delta.error !== null) this.#fail(delta.error);
      else this.#answer.delta(delta);
    } catch (error) {
      this.#fail(error);
    }
  }

  warm(): number {
    return this.#numTokens + this.#timer.warm() + (this.#answer.warm?.() ?? 0);
  }

  closed(): void {
    const { context, exchange } = this.#parts;
    this.#isOpen = false;
    context.limits.spend(exchange.caller, this.#numTokens);
    this.#span?.end(this.#failed || this.#numUnfinished > 0);
    this.#timer.closed();
    if (this.#isOver) return;
    try {
      if (this.#numUnfinished > 0) this.#fail(endedEarly);
      else this.#answer.finish(this.#timer.times());
    } catch (error) {
      this.#fail(error);
    }
  }

  exchangeEnded(): void {
    this.#isOver = true;
    this.#abort();
  }

  #fail(error: unknown): void {
    const { context, exchange, request } = this.#parts;
    this.#failed = true;
    this.#isOver = true;
    if (!(error instanceof LockstepError)) context.options.logger.error({ err: error, request: request.id }, 'an answer could not be made');
    failExchange(exchange, asLockstepError(error), context.options.errorCodeStyle);
    this.#abort();
  }

  #abort(): void {
    const { engine, request } = this.#parts;
    if (this.#isOpen) engine.abort(request.id);
  }
}

/** The engine closed a request before all its choices had ended: it failed, or was stopped. */
export const endedEarly = new LockstepError('internal', 'The engine stopped before the answer was complete.');
