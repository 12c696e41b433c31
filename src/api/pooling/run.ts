/** A request's inputs through the engine, each a request of its own, some at a time; and what the routes share of asking and answering. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pooler, PoolerOptions } from '../../engine/pooler.js';
import { LockstepError } from '../../errors.js';
import { endsByLength, neutralSampling } from '../../sampling/params.js';
import { type Context, checkQueue, type Serving, servingNow } from '../context.js';
import { ClientGone, type Exchange } from '../exchange.js';
import type { RequestBody } from '../fields.js';
import { type Present, parsePriority } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { type JsonRequest, readRequest } from '../request.js';
import { endedEarly, engineId } from '../run.js';
import type { PoolPrompt } from './inputs.js';

/** Inputs of one HTTP request that are with the engine at once: enough to fill its steps, and other clients get theirs in between. */
const inFlightMax = 128;

export interface PoolingRequest extends JsonRequest {
  readonly pooler: Pooler;
}

/** Reads the body. Throws where the model generates, or gives something else than `task`; `name`: of the API. */
export async function readPooling(
  exchange: Exchange,
  context: Context,
  fields: RequestBody,
  { name, task }: { readonly name: string; readonly task?: 'embed' | 'classify' },
): Promise<PoolingRequest> {
  const { model } = servingNow(context);
  checkQueue(model);
  const { pooler } = model;
  const request = await readRequest(exchange, context, fields);
  if (pooler === null) throw notSupported(name, 'it generates text; --runner pooling serves it for its hidden states');
  if (task !== undefined && pooler.spec.task !== task) {
    throw notSupported(name, pooler.spec.task === 'embed' ? 'it gives embeddings' : 'it gives scores of labels');
  }
  return { ...request, pooler };
}

const notSupported = (name: string, why: string) => new LockstepError('invalid_value', `The model does not support ${name}: ${why}.`);

const stop = endsByLength(0);

export interface Pooled {
  /** One for each prompt, as the engine gives them. */
  readonly values: readonly Float32Array[];
  /** Of the first prompt: tokens that came from the prefix cache. */
  readonly cachedTokens: number;
}

/**
 * Pools every prompt. Rejects with `queue_full` or `not_ready`, with what failed, or when the client goes away; the engine then lets go of all of
 * them.
 */
export function pool(
  exchange: Exchange,
  context: Context,
  { serving, body, arrivalMs, pooler }: PoolingRequest,
  prompts: readonly PoolPrompt[],
): Promise<Pooled> {
  const { engine } = serving.model;
  const { share } = exchange.caller;
  const priority = parsePriority(body, serving.model);
  const cacheSalt = (body['cache_salt'] as Present<string>) ?? null;
  const values: Float32Array[] = [];
  const running = new Set<string>();
  let cachedTokens = 0;
  let [next, finished, isOver] = [0, 0, false];
  return new Promise((resolve, reject) => {
    const end = (error: unknown) => {
      if (isOver) return;
      isOver = true;
      for (const id of running) engine.abort(id);
      reject(error);
    };
    const submit = (index: number) => {
      const { ids, secondSegment } = prompts[index]!;
      const id = engineId('pool');
      const request = {
        ...{ id, promptTokens: ids, sampling: neutralSampling, stop, priority, cacheSalt },
        ...(share !== null && { share }),
        pooling: pooler.request(secondSegment),
      };
      context.limits.spend(exchange.caller, ids.length);
      const timer = context.metrics.track(request, arrivalMs);
      engine.submit(request, {
        prompt(facts) {
          if (index === 0) cachedTokens = facts.cachedTokens;
          timer.prompt(facts.cachedTokens, facts.queueMs);
        },
        tokens() {},
        end({ finishReason, error, pooled }) {
          timer.tokens(0, 0, finishReason === 'error' ? 'error' : 'stop');
          if (pooled !== undefined) values[index] = pooled;
          else end(error ?? endedEarly);
        },
        closed() {
          timer.closed();
          running.delete(id);
          if (values[index] === undefined) end(endedEarly);
          else if (++finished === prompts.length) resolve({ values, cachedTokens });
          else submitMore();
        },
      });
      running.add(id);
    };
    const submitMore = () => {
      try {
        while (!isOver && running.size < inFlightMax && next < prompts.length) submit(next++);
      } catch (error) {
        end(error);
      }
    };
    submitMore();
    exchange.onEnd(() => {
      if (finished < prompts.length) end(new ClientGone());
    });
  });
}

/** Multiplications before other clients get a turn: about two milliseconds. */
const workAtATime = 2e6;

/** What the model makes of each prompt's pooled states. */
export async function finishAll(
  pooler: Pooler,
  { values }: Pooled,
  prompts: readonly PoolPrompt[],
  options: PoolerOptions,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  let work = 0;
  for (const [i, pooled] of values.entries()) {
    vectors.push(pooler.finish(pooled, prompts[i]!.ids.length, options));
    work += pooler.work;
    if (work < workAtATime) continue;
    work = 0;
    await nextTurn();
  }
  return vectors;
}

/** Fields that every answer has. */
export function envelope({ model }: Serving, id: string): { id: string; object: 'list'; created: number; model: string } {
  return { id, object: 'list', created: Math.floor(Date.now() / 1000), model: model.names[0]! };
}

/** `numTokens`: of all inputs. */
export function usageOf(numTokens: number, cachedTokens: number, context: Context): object {
  const details = context.options.promptTokensDetails ? { cached_tokens: cachedTokens } : null;
  return { prompt_tokens: numTokens, total_tokens: numTokens, completion_tokens: 0, prompt_tokens_details: details };
}

export const tokensOf = (prompts: readonly PoolPrompt[]) => prompts.reduce((sum, { ids }) => sum + ids.length, 0);

export const activationOf = (body: JsonObject) => (body['use_activation'] as Present<boolean>) ?? null;
