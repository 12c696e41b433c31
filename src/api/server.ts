/**
 * The port: listens at once, before a model is there, and answers 503 until `setModel`. Guards every route (CORS, keys), counts what is
 * running, drains. Routes are `routes.ts`'s, sockets the exchange's.
 */
import { createHash } from 'node:crypto';
import { LockstepError } from '../errors.js';
import { silentLogger } from '../log.js';
import { Metrics } from '../metrics/metrics.js';
import { createSheet } from '../metrics/series.js';
import { answerCors, corsDefault, createKeyCheck, givesKey } from './auth.js';
import type { Context, ServerOptions } from './context.js';
import { asLockstepError, failExchange } from './error-body.js';
import { ClientGone, type Exchange, type ExchangeHandler, type Listener } from './exchange.js';
import { listenNode } from './exchange-node.js';
import { listenUws, loadUws } from './exchange-uws.js';
import { GrammarCompiler } from './grammar-compiler.js';
import { BodyBudget } from './json-body.js';
import { Preparer } from './prepare.js';
import { ResponseStore } from './responses/store.js';
import { missingFlag } from './route.js';
import { findRoute, type RouteMatch, routes } from './routes.js';
import type { ServedModel } from './served-model.js';
import { streamBufferBytesDefault } from './sse.js';

export type { ServerOptions } from './context.js';

const optionsDefault: ServerOptions = {
  host: '0.0.0.0',
  port: 8000,
  rootPath: '',
  apiKeys: [],
  maxBodyBytes: 16 * 2 ** 20,
  cors: corsDefault,
  unknownFields: 'refuse',
  errorCodeStyle: 'openai',
  responseRole: 'assistant',
  version: '0.0.0',
  promptTokensDetails: false,
  forceIncludeUsage: false,
  logRequests: false,
  devMode: false,
  sleepMode: false,
  tokenizerInfo: false,
  settings: {},
  streamBufferBytesMax: streamBufferBytesDefault,
  backend: 'auto',
  logger: silentLogger,
};

export interface HttpServer {
  readonly port: number;
  /** Which implementation of the exchange listens. */
  readonly backend: 'uws' | 'node';
  readonly metrics: Metrics;
  /** From now on requests are taken. */
  setModel(model: ServedModel): void;
  /** Takes no more requests (503), waits for those that run, at most `timeoutMs`; true: all ended by themselves. */
  drain(timeoutMs: number): Promise<boolean>;
  /** Closes the port and every connection. */
  close(): Promise<void>;
}

/** Throws a `start` error where the port cannot be had. */
export async function createServer(given: Partial<ServerOptions> = {}): Promise<HttpServer> {
  const options = { ...optionsDefault, ...given };
  const metrics = new Metrics({ routes, sheets: [createSheet()], own: 0 });
  const context: Context = {
    options,
    metrics,
    serving: null,
    draining: false,
    bodies: new BodyBudget(),
    responses: new ResponseStore(),
    inFlight: 0,
  };
  const idle = new Set<() => void>();
  const handler = createHandler(context, () => {
    if (context.inFlight === 0) for (const resolve of idle) resolve();
  });
  const { listener, backend } = await listen(options, handler);

  return {
    port: listener.port,
    backend,
    metrics,
    setModel(model) {
      const label = `${model.root}|${model.vocabSize}|${model.maxModelLen}`;
      const digest = createHash('sha256').update(label).digest('hex').slice(0, 8);
      const fingerprint = `lockstep-${options.version}-${digest}`;
      context.serving = {
        model,
        preparer: new Preparer(model),
        grammars: new GrammarCompiler(model),
        fingerprint,
        since: Math.floor(Date.now() / 1000),
      };
      metrics.setModel(model.names[0]!, model.engine, model.maxModelLen, model.cacheConfig);
    },
    async drain(timeoutMs) {
      context.draining = true;
      if (context.inFlight === 0) return true;
      return new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), timeoutMs);
        idle.add(() => {
          clearTimeout(timer);
          resolve(true);
        });
      });
    },
    async close() {
      listener.close();
      await Promise.all([context.serving?.preparer.close(), context.serving?.grammars.close()]);
    },
  };
}

async function listen(options: ServerOptions, handler: ExchangeHandler): Promise<{ listener: Listener; backend: 'uws' | 'node' }> {
  if (options.backend !== 'node') {
    const uws = loadUws();
    if (uws.module !== null) return { listener: await listenUws(uws.module, options, handler), backend: 'uws' };
    if (options.backend === 'uws') throw new LockstepError('start', `uWebSockets.js does not load: ${uws.reason}`);
    options.logger.warn(`uWebSockets.js does not load (${uws.reason}); using node:http, which costs more time for each event`);
  }
  return { listener: await listenNode(options, handler), backend: 'node' };
}

function createHandler(context: Context, onEnd: () => void): ExchangeHandler {
  const { options } = context;
  const hasKey = createKeyCheck(options.apiKeys);
  return (exchange) => {
    const startMs = performance.now();
    let path: string | null = null;
    exchange.onEnd(() => measure(exchange, context, path, startMs));
    const match = guard(exchange, context, hasKey);
    if (match === null) return;
    const { route, rest } = match;
    path = route.path;
    let counted = route.inference;
    if (counted) context.inFlight++;
    const ended = () => {
      if (!counted) return;
      counted = false;
      context.inFlight--;
      onEnd();
    };
    exchange.onEnd(ended);
    if (options.logRequests)
      exchange.onEnd(() => options.logger.info({ path: exchange.path, ms: Math.round(performance.now() - startMs) }, 'request'));
    const fail = (error: unknown) => {
      if (error instanceof ClientGone) return;
      const known = asLockstepError(error);
      if (known !== error) options.logger.error({ err: error, path: exchange.path }, 'a request failed unexpectedly');
      if (known.code === 'queue_full') context.metrics.rejected();
      failExchange(exchange, known, options.errorCodeStyle);
    };
    try {
      const handled = route.handle(exchange, context, rest);
      if (handled instanceof Promise) handled.catch(fail);
    } catch (error) {
      fail(error);
    }
  };
}

/** What nginx writes for a client that went before its answer; it is sent to nobody. */
const clientClosed = 499;

function measure(exchange: Exchange, { metrics }: Context, path: string | null, startMs: number): void {
  const status = exchange.status === 0 ? clientClosed : exchange.status;
  const bytes = Number(exchange.header('content-length') ?? 0) || 0;
  metrics.http.observe(exchange.method, path, status, (performance.now() - startMs) / 1000, bytes, exchange.replyBytes);
}

/** CORS, the route, the key. null: answered already. */
function guard(exchange: Exchange, { options }: Context, hasKey: (exchange: Exchange) => boolean) {
  if (answerCors(exchange, options.cors)) return null;
  const match = findRoute(exchange.method, withoutRoot(exchange.path, options.rootPath));
  if (match.found === 'route' && match.route.errors !== undefined) exchange.errors = match.route.errors;
  const refusal = refusalOf(match, exchange, options);
  if (refusal === null && match.found === 'route') {
    if (match.route.access === 'open' || hasKey(exchange)) return match;
    exchange.setHeader('www-authenticate', 'Bearer');
    const message = givesKey(exchange) ? 'The API key is not valid.' : 'No API key was given.';
    failExchange(
      exchange,
      new LockstepError('invalid_api_key', `${message} Send it as: Authorization: Bearer KEY.`),
      options.errorCodeStyle,
    );
    return null;
  }
  failExchange(exchange, refusal!, options.errorCodeStyle);
  return null;
}

function refusalOf(match: RouteMatch, exchange: Exchange, options: ServerOptions): LockstepError | null {
  if (match.found === 'nothing') return new LockstepError('not_found', `Invalid URL (${exchange.method} ${exchange.path})`);
  if (match.found === 'route') {
    const missing = missingFlag(match.route, options);
    return missing === null ? null : new LockstepError('not_found', `${exchange.method} ${exchange.path} is there only with ${missing}.`);
  }
  exchange.setHeader('allow', match.allowed);
  return new LockstepError('method_not_allowed', `Not allowed to ${exchange.method} on ${exchange.path}; use ${match.allowed}.`);
}

/** A proxy may strip the prefix or leave it: both are right. */
function withoutRoot(path: string, root: string): string {
  const prefix = root.endsWith('/') ? root.slice(0, -1) : root;
  return prefix !== '' && path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
}
