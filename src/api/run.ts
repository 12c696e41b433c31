/**
 * One prompt's way through the engine, the same for every route: ids of requests, abort when the client goes away, measured times.
 * What is made of the deltas is the route's.
 */
import { randomBytes } from 'node:crypto';
import { BeamSearch } from '../engine/beam-search.js';
import { generate, type TextDelta, type TextEvents } from '../engine/output.js';
import type { GenerationRequest, PromptFacts } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import type { Constraints } from './constraints.js';
import type { Context, Serving } from './context.js';
import { logPrompt, outputLog } from './door/text-log.js';
import { asLockstepError, failExchange } from './error-body.js';
import type { Exchange } from './exchange.js';
import type { Generation } from './generation.js';
import { withContextLimit } from './generation.js';
import type { JsonObject } from './json-body.js';
import { everyTokens } from './stream-interval.js';

const requestIdLenMax = 256;
let numRequests = 0;

/** `chatcmpl-…`; what the client chose (X-Request-Id, request_id) or random. */
export function responseId(prefix: string, exchange: Exchange, body: JsonObject): string {
  const given = exchange.header('x-request-id') ?? (body['request_id'] as string | null | undefined);
  return `${prefix}-${given ? given.slice(0, requestIdLenMax) : randomBytes(8).toString('hex')}`;
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
  constraints: Constraints,
  maxModelLen: number,
): GenerationRequest {
  if (generation.beams !== null && constraints.grammar !== null) throw beamsWithGrammar;
  return {
    id: engineId(id),
    promptTokens,
    sampling: { ...generation.sampling, badWords: constraints.badWords },
    stop: withContextLimit(generation, promptTokens.length, maxModelLen),
    priority: generation.priority,
    cacheSalt: generation.cacheSalt,
    ...(constraints.grammar !== null && { grammar: constraints.grammar }),
  };
}

/** What a route makes of a prompt's answer. Errors never get here: they are the exchange's end. */
export interface AnswerEvents {
  prompt(facts: PromptFacts): void;
  delta(delta: TextDelta): void;
  /** Every choice has ended. */
  finish(): void;
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
  const { caller } = exchange;
  const request = { ...asked, share: { owner: caller.owner, weight: caller.weight } };
  const told = generation.streamInterval > 1 ? everyTokens(generation.streamInterval, answer) : answer;
  const timer = context.metrics.track(request, arrivalMs);
  const output = outputLog(context, request.id);
  const span = context.tracer?.begin(exchange, request, model.names[0]!, arrivalMs) ?? null;
  let numUnfinished = request.sampling.n;
  let numTokens = 0;
  const engine = generation.beams === null ? model.engine : new BeamSearch(model.engine, generation.beams);
  let isOpen = true; // the engine has more to say
  let failed = false;
  const fail = (error: unknown) => {
    failed = true;
    if (!(error instanceof LockstepError)) context.options.logger.error({ err: error, request: request.id }, 'an answer could not be made');
    failExchange(exchange, asLockstepError(error), context.options.errorCodeStyle);
    if (isOpen) engine.abort(request.id);
  };
  const events: TextEvents = {
    prompt(facts) {
      timer.prompt(facts.cachedTokens, facts.queueMs);
      span?.prompt(facts.queueMs);
      if (failed || exchange.over) return;
      try {
        told.prompt(facts);
      } catch (error) {
        fail(error);
      }
    },
    delta(delta) {
      timer.tokens(delta.choice, delta.ids.length, delta.finishReason);
      numTokens += delta.ids.length;
      span?.tokens(delta.ids.length);
      output?.push(delta.choice, delta.text, delta.finishReason);
      if (failed || exchange.over) return;
      if (delta.finishReason !== null) numUnfinished--;
      try {
        if (delta.finishReason === 'error') fail(new LockstepError('internal', delta.message ?? 'Internal server error'));
        else told.delta(delta);
      } catch (error) {
        fail(error);
      }
    },
    closed() {
      isOpen = false;
      context.limits.spend(caller, numTokens);
      span?.end(failed || numUnfinished > 0);
      timer.closed();
      if (failed || exchange.over) return;
      try {
        if (numUnfinished > 0) fail(endedEarly);
        else told.finish();
      } catch (error) {
        fail(error);
      }
    },
  };
  const { skipSpecialTokens } = generation;
  generate(engine, model.tokenizer, request, { skipSpecialTokens, ...(keepTokens && { keepTokens }) }, events);
  context.limits.spend(caller, request.promptTokens.length);
  logPrompt(context, model.tokenizer, request);
  exchange.onEnd(() => {
    if (isOpen) engine.abort(request.id);
  });
}

/** The engine closed a request before all its choices had ended: it failed, or was stopped. */
export const endedEarly = new LockstepError('internal', 'The engine stopped before the answer was complete.');
