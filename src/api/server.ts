/**
 * The server: takes requests from its port, answers 503 until `setModel`, and drains. Who may enter is `door/front-door.ts`'s, routes
 * are `routes.ts`'s, sockets the exchange's.
 */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { silentLogger } from '../log.js';
import { Metrics } from '../metrics/metrics.js';
import { createSheet } from '../metrics/series.js';
import type { Context, ServerOptions } from './context.js';
import { corsDefault } from './cors.js';
import { createFrontDoor } from './door/front-door.js';
import { KeepAlive } from './door/keep-alive.js';
import { RateLimits, rateMemory } from './door/rate-limit.js';
import { watchTls } from './door/tls.js';
import { Tracer } from './door/tracing.js';
import { GrammarCompiler } from './grammar-compiler.js';
import { InFlight } from './in-flight.js';
import { BodyBudget } from './json-body.js';
import { openPort, type Port } from './port.js';
import { Preparer } from './prepare.js';
import { ResponseStore } from './responses/store.js';
import { routes } from './routes.js';
import type { ServedModel } from './served-model.js';
import { streamBufferBytesDefault } from './sse.js';

export type { ServerOptions } from './context.js';

const optionsDefault: ServerOptions = {
  host: '0.0.0.0',
  port: 8000,
  rootPath: '',
  uds: null,
  tls: null,
  tlsRefresh: false,
  apiKeys: [],
  rateDefaults: { requestsPerMinute: null, tokensPerMinute: null },
  requestIdHeaders: false,
  keepAliveMs: 0,
  accessLog: null,
  maxBodyBytes: 16 * 2 ** 20,
  cors: corsDefault,
  unknownFields: 'refuse',
  errorCodeStyle: 'openai',
  responseRole: 'assistant',
  version: '0.0.0',
  promptTokensDetails: false,
  forceIncludeUsage: false,
  tracing: null,
  textLog: null,
  devMode: false,
  sleepMode: false,
  tokenizerInfo: false,
  docs: true,
  fingerprint: 'full',
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
  /** Closes the port and every connection, when its client has taken what was answered, or after `flushMs`. */
  close(flushMs?: number): Promise<void>;
}

/** Over `port`, or one that is opened here; throws a `start` error where it cannot be had. */
export async function createServer(given: Partial<ServerOptions> = {}, port: Port | null = null): Promise<HttpServer> {
  const options = { ...optionsDefault, ...given };
  const metrics = new Metrics({ routes, sheets: [createSheet()], own: 0 });
  const context: Context = {
    options,
    metrics,
    serving: null,
    draining: false,
    bodies: new BodyBudget(),
    responses: new ResponseStore(),
    inFlight: new InFlight(),
    limits: new RateLimits(options.apiKeys, options.rateDefaults, rateMemory(options.apiKeys.length)),
    tracer: options.tracing === null ? null : new Tracer(options.tracing, options.logger),
    keepAlive: new KeepAlive(options.keepAliveMs),
  };
  const handler = createFrontDoor(context);
  const { listener, backend, serve } = port ?? (await openPort({ ...options, sharing: null }));
  serve(handler);
  const unwatch = options.tls !== null && options.tlsRefresh ? watchTls(options.tls, () => listener.reloadTls(), options.logger) : () => {};

  return {
    port: listener.port,
    backend,
    metrics,
    setModel(model) {
      context.serving = {
        model,
        preparer: new Preparer(model),
        grammars: new GrammarCompiler(model),
        fingerprint: fingerprintOf(model, options),
        since: Math.floor(Date.now() / 1000),
      };
      metrics.setModel(model.names[0]!, model.engine, model.maxModelLen, model.cacheConfig);
    },
    async drain(timeoutMs) {
      context.draining = true;
      const timer = new AbortController();
      const late = delay(timeoutMs, false, { signal: timer.signal }).catch(() => false);
      const ended = await Promise.race([context.inFlight.idle().then(() => true), late]);
      timer.abort();
      return ended;
    },
    async close(flushMs) {
      unwatch();
      context.keepAlive.close();
      await listener.close(flushMs);
      const { tracer, serving } = context;
      await Promise.all([tracer?.close(), serving?.preparer.close(), serving?.grammars.close()]);
    },
  };
}

function fingerprintOf({ root, vocabSize, maxModelLen }: ServedModel, { fingerprint, version }: ServerOptions): string | null {
  if (fingerprint === 'none') return null;
  if (typeof fingerprint === 'object') return fingerprint.custom;
  const digest = createHash('sha256').update(`${root}|${vocabSize}|${maxModelLen}`).digest('hex').slice(0, 8);
  return fingerprint === 'hash' ? digest : `lockstep-${version}-${digest}`;
}
