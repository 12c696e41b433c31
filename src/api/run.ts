/**
 * One prompt's way through the engine, the same for every route: ids of requests, abort when the client goes away, measured times.
 * What is made of the deltas is the route's.
 */
import { randomBytes } from 'node:crypto';
import { generate, type TextDelta, type TextEvents } from '../engine/output.js';
import type { GenerationRequest } from '../engine/request.js';
import { LockstepError } from '../errors.js';
import type { Context, Serving } from './context.js';
import type { Exchange } from './exchange.js';
import type { Generation } from './generation.js';
import { withContextLimit } from './generation.js';
import type { JsonObject } from './json-body.js';

const requestIdLenMax = 256;
let numRequests = 0;

/** `chatcmpl-…`; what the client chose (X-Request-Id, request_id) or random. */
export function responseId(prefix: 'chatcmpl' | 'cmpl', exchange: Exchange, body: JsonObject): string {
  const given = exchange.header('x-request-id') ?? (body['request_id'] as string | null | undefined);
  return `${prefix}-${given ? given.slice(0, requestIdLenMax) : randomBytes(8).toString('hex')}`;
}

/** Engine ids are unique even where clients choose equal ones. */
export const engineId = (id: string) => `${id}#${++numRequests}`;

export function toRequest(id: string, promptTokens: Int32Array, generation: Generation, maxModelLen: number): GenerationRequest {
  return {
    id: engineId(id),
    promptTokens,
    sampling: generation.sampling,
    stop: withContextLimit(generation, promptTokens.length, maxModelLen),
    priority: generation.priority,
    cacheSalt: generation.cacheSalt,
  };
}

/** Throws `queue_full` or `not_ready`; otherwise events follow. Nothing is called after the client went away. */
export function run(
  context: Context,
  { model }: Serving,
  exchange: Exchange,
  request: GenerationRequest,
  { skipSpecialTokens, arrivalMs }: { readonly skipSpecialTokens: boolean; readonly arrivalMs: number },
  events: TextEvents,
): void {
  const timer = context.metrics.track(request, arrivalMs);
  generate(
    model.engine,
    model.tokenizer,
    request,
    { skipSpecialTokens },
    {
      prompt(facts) {
        timer.prompt(facts.cachedTokens, facts.queueMs);
        if (!exchange.aborted) events.prompt(facts);
      },
      delta(delta) {
        timer.tokens(delta.choice, delta.ids.length, delta.finishReason);
        if (!exchange.aborted) events.delta(delta);
        // The answer is an error now: other choices of the prompt are of no use.
        if (delta.finishReason === 'error') model.engine.abort(request.id);
      },
      closed() {
        timer.closed();
        if (!exchange.aborted) events.closed();
      },
    },
  );
  exchange.onAbort(() => model.engine.abort(request.id));
}

/** The engine closed a request before all its choices had ended: it failed, or was stopped. */
export const endedEarly = new LockstepError('internal', 'The engine stopped before the answer was complete.');

/** What a choice that ended in an error becomes. */
export const choiceError = (delta: TextDelta) => new LockstepError('internal', delta.message ?? 'Internal server error');
