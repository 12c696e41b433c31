/**
 * The routes that steer the engine: POST /sleep, /wake_up, /pause, /resume and /reset_prefix_cache, GET /is_sleeping and /is_paused (vLLM's),
 * /flush_cache (SGLang's).
 *
 * A sleeping server answers, and what it is asked to generate waits in the queue. Level 1 leaves nothing in the KV cache. The weights stay
 * where they are: on a CPU there is no other memory to move them to.
 */
import type { SleepMode } from '../../engine/control.js';
import { LockstepError } from '../../errors.js';
import { type Context, servingNow } from '../context.js';
import type { Exchange } from '../exchange.js';
import { boolean, list, oneWord, type Schema } from '../schema.js';

const modes: readonly SleepMode[] = ['abort', 'wait', 'keep'];
/** What vLLM lets sleep and wake apart; here all of it does at once. */
const wakeTags = ['weights', 'kv_cache'];

export const sleepQuery = { level: oneWord('0', '1'), mode: oneWord(...modes) };
export const pauseQuery = { mode: oneWord(...modes), clear_cache: boolean };
export const wakeQuery = { tags: list(oneWord(...wakeTags)) };
export const resetQuery = { reset_running_requests: boolean, reset_external: { type: 'boolean', enum: [false] } } as const;

export async function handleSleep(exchange: Exchange, context: Context): Promise<void> {
  const query = parameters(exchange, sleepQuery);
  const level = query.get('level') ?? '1';
  if (level === '2') throw refused('level', 'level=2 throws the weights away, and there is no route to load them again. Use level=1.');
  if (level !== '0' && level !== '1') throw refused('level', `level must be 0 or 1, got ${level}.`);
  await servingNow(context).model.engine.control({ kind: 'sleep', mode: modeIn(query), forget: level === '1' });
  exchange.reply(200, null, '');
}

function modeIn(query: URLSearchParams): SleepMode {
  const asked = query.get('mode') ?? 'abort';
  const mode = modes.find((each) => each === asked);
  if (mode === undefined) throw refused('mode', `mode must be one of ${modes.join(', ')}, got ${asked}.`);
  return mode;
}

export async function handleWakeUp(exchange: Exchange, context: Context): Promise<void> {
  const tags = parameters(exchange, wakeQuery).getAll('tags');
  const unknown = tags.find((tag) => !wakeTags.includes(tag));
  if (unknown !== undefined) throw refused('tags', `tags must be among ${wakeTags.join(', ')}, got ${unknown}.`);
  // The weights never went away: whoever asks only for them has them, and the KV cache is to stay asleep.
  if (tags.length === 0 || tags.includes('kv_cache')) await servingNow(context).model.engine.control({ kind: 'wake' });
  exchange.reply(200, null, '');
}

/** Sleeping, by the name under which only the scheduler sleeps: nothing but the prefix cache may go. */
export async function handlePause(exchange: Exchange, context: Context): Promise<void> {
  const query = parameters(exchange, pauseQuery);
  const forget = flagIn(query, 'clear_cache', true);
  await servingNow(context).model.engine.control({ kind: 'sleep', mode: modeIn(query), forget });
  exchange.reply(200, 'application/json', JSON.stringify({ status: 'paused' }));
}

export async function handleResume(exchange: Exchange, context: Context): Promise<void> {
  parameters(exchange, {});
  await servingNow(context).model.engine.control({ kind: 'wake' });
  exchange.reply(200, 'application/json', JSON.stringify({ status: 'resumed' }));
}

export function handleIsPaused(exchange: Exchange, context: Context): void {
  const isPaused = servingNow(context).model.engine.counters().asleep === 1;
  exchange.reply(200, 'application/json', JSON.stringify({ is_paused: isPaused }));
}

export function handleIsSleeping(exchange: Exchange, context: Context): void {
  const isSleeping = servingNow(context).model.engine.counters().asleep === 1;
  exchange.reply(200, 'application/json', JSON.stringify({ is_sleeping: isSleeping }));
}

export async function handleResetPrefixCache(exchange: Exchange, context: Context): Promise<void> {
  const query = parameters(exchange, resetQuery);
  const preempt = flagIn(query, 'reset_running_requests');
  if (flagIn(query, 'reset_external')) throw refused('reset_external', 'There is no external cache. Leave reset_external out.');
  await servingNow(context).model.engine.control({ kind: 'forgetPrefixes', preempt });
  exchange.reply(200, null, '');
}

/** Unlike SGLang's it also works while requests run: they keep their blocks, and nobody else finds them. */
export async function handleFlushCache(exchange: Exchange, context: Context): Promise<void> {
  parameters(exchange, {});
  await servingNow(context).model.engine.control({ kind: 'forgetPrefixes', preempt: false });
  exchange.reply(200, 'text/plain; charset=utf-8', 'Cache flushed.\n');
}

/** The query, of which nothing is ignored. */
export function parameters(exchange: Exchange, known: Readonly<Record<string, Schema>>): URLSearchParams {
  const query = new URLSearchParams(exchange.query);
  for (const name of query.keys()) if (!Object.hasOwn(known, name)) throw refused(name, `Unrecognized query parameter supplied: ${name}`);
  return query;
}

function flagIn(query: URLSearchParams, name: string, otherwise = false): boolean {
  const value = (query.get(name) ?? String(otherwise)).toLowerCase();
  if (['true', '1'].includes(value)) return true;
  if (['false', '0'].includes(value)) return false;
  throw refused(name, `${name} must be true or false, got ${value}.`);
}

const refused = (param: string, message: string) => new LockstepError('invalid_value', message, { param });
