/**
 * What every request passes on its way to its route: the request's id, CORS, the route table, the key, the limits of the key; and what is noted when
 * it is over: metrics and the log of requests. The routes see a caller that may call.
 */
import { randomUUID } from 'node:crypto';
import { LockstepError } from '../../errors.js';
import type { Context, ServerOptions } from '../context.js';
import { answerCors } from '../cors.js';
import { asLockstepError } from '../error-body.js';
import { ClientGone, type Exchange, type ExchangeHandler } from '../exchange.js';
import { failExchange } from '../fail-exchange.js';
import { missingFlag, type Route } from '../route.js';
import { findRoute, type RouteMatch } from '../routes.js';
import { givenKeys, KeyRing } from './keys.js';

/** Characters of an id that a client chose. */
const requestIdLenMax = 256;

export function createFrontDoor(context: Context): ExchangeHandler {
  const { options } = context;
  const keys = new KeyRing(options.apiKeys);
  return (exchange) => {
    const note = { startMs: performance.now(), route: null as Route | null };
    watch(exchange, context, note);
    try {
      const entered = enter(exchange, context, keys);
      if (entered === null) return;
      note.route = entered.route;
      if (entered.route.inference) context.inFlight.add(exchange);
      const handled = entered.route.handle(exchange, context, entered.rest);
      if (handled instanceof Promise) handled.catch((error) => fail(exchange, context, error));
    } catch (error) {
      fail(exchange, context, error);
    }
  };
}

/** CORS, the route, the key, its limits. null: answered already. Throws what the request is refused with. */
function enter(exchange: Exchange, { options, limits }: Context, keys: KeyRing): { route: Route; rest: string } | null {
  echoId(exchange, options);
  if (answerCors(exchange, options.cors)) return null;
  const match = findRoute(exchange.method, withoutRoot(exchange.path, options.rootPath));
  if (match.found !== 'route') throw refusalOf(match, exchange);
  const { route } = match;
  if (route.errors !== undefined) exchange.errors = route.errors;
  const missing = missingFlag(route, options);
  if (missing !== null) throw new LockstepError('not_found', `${exchange.method} ${exchange.path} is there only with ${missing}.`);
  if (route.access === 'open') return match;
  const caller = keys.callerOf(exchange);
  if (caller === null) {
    exchange.setHeader('www-authenticate', 'Bearer');
    const message = givenKeys(exchange).length === 0 ? 'No API key was given.' : 'The API key is not valid.';
    throw new LockstepError('invalid_api_key', `${message} Send it as: Authorization: Bearer KEY, or x-api-key: KEY.`);
  }
  exchange.caller = caller;
  if (route.inference) limits.admit(exchange, caller);
  return match;
}

/** The id that the client chose comes back to it; with --enable-request-id-headers every reply has one. */
function echoId(exchange: Exchange, { requestIdHeaders }: ServerOptions): void {
  const given = exchange.header('x-request-id')?.slice(0, requestIdLenMax);
  const id = given ?? (requestIdHeaders ? randomUUID().replaceAll('-', '') : undefined);
  if (id !== undefined) exchange.setHeader('x-request-id', id);
}

function fail(exchange: Exchange, { options, metrics }: Context, error: unknown): void {
  if (error instanceof ClientGone) return;
  const known = asLockstepError(error);
  if (known !== error) options.logger.error({ err: error, path: exchange.path }, 'a request failed unexpectedly');
  if (known.code === 'queue_full') metrics.rejected();
  failExchange(exchange, known, options.errorCodeStyle);
}

/** What nginx writes for a client that went before its answer; it is sent to nobody. */
const clientClosed = 499;

function watch(exchange: Exchange, { options, metrics }: Context, note: { readonly startMs: number; readonly route: Route | null }): void {
  const { accessLog } = options;
  const path = withoutRoot(exchange.path, options.rootPath);
  const isLogged = accessLog !== null && !accessLog.exceptPaths.includes(path);
  const client = isLogged ? exchange.remoteAddress() : '';
  exchange.onEnd(() => {
    const status = exchange.status === 0 ? clientClosed : exchange.status;
    const ms = performance.now() - note.startMs;
    const bytes = Number(exchange.header('content-length') ?? 0) || 0;
    metrics.http.observe(exchange.method, note.route?.path ?? null, status, ms / 1000, bytes, exchange.replyBytes);
    if (!isLogged) return;
    const { name } = exchange.caller;
    const id = exchange.header('x-request-id')?.slice(0, requestIdLenMax);
    const more = { ...(name === null ? {} : { key: name }), ...(id === undefined ? {} : { id }) };
    accessLog.logger.info({ client, method: exchange.method, path, status, ms: Math.round(ms * 10) / 10, ...more }, 'answered');
  });
}

function refusalOf(match: Exclude<RouteMatch, { found: 'route' }>, exchange: Exchange): LockstepError {
  if (match.found === 'nothing') return new LockstepError('not_found', `Invalid URL (${exchange.method} ${exchange.path})`);
  exchange.setHeader('allow', match.allowed);
  return new LockstepError('method_not_allowed', `Not allowed to ${exchange.method} on ${exchange.path}; use ${match.allowed}.`);
}

/** A proxy may strip the prefix or leave it: both are right. */
function withoutRoot(path: string, root: string): string {
  const prefix = root.endsWith('/') ? root.slice(0, -1) : root;
  return prefix !== '' && path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
}
