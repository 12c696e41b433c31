/**
 * The server: takes requests from its port, answers 503 until `setModel`, and drains. Who may enter is `door/front-door.ts`'s, routes
 * are `routes.ts`'s, sockets the exchange's.
 */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { silentLogger } from '../log.js';
import { Metrics } from '../metrics/metrics.js';
import type { Context, ServerOptions } from './context.js';
import { corsDefault } from './cors.js';
import { createFrontDoor } from './door/front-door.js';
import { KeepAlive } from './door/keep-alive.js';
import { RateLimits } from './door/rate-limit.js';
import { watchTls } from './door/tls.js';
import { Tracer } from './door/tracing.js';
import { GrammarCompiler } from './grammar-compiler.js';
import { InFlight } from './in-flight.js';
import { BodyBudget } from './json-body.js';
import { openPort, type Port } from './port.js';
import { Preparer } from './prepare.js';
import { PromptThread } from './prompt-pool.js';
import { ResponsesHere } from './responses/keeper.js';
import { ResponseStore } from './responses/store.js';
import { routes } from './routes.js';
import type { ServedModel } from './served-model.js';
import { streamBufferBytesDefault } from './sse.js';
import { serveThread } from './threads/home.js';
import { HomeLink } from './threads/home-link.js';
import { createSharedState, type SharedState } from './threads/shared-state.js';

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
  perRequestMetrics: false,
  forceIncludeUsage: false,
  tracing: null,
  textLog: null,
  devMode: false,
  sleepMode: false,
  tokenizerInfo: false,
  page: true,
  docs: true,
  fingerprint: 'full',
  settings: {},
  streamBufferBytesMax: streamBufferBytesDefault,
  backend: 'auto',
  logger: silentLogger,
};

/** One of the threads that answer requests together. */
export interface ThreadPlace {
  /** The first is 0. */
  readonly index: number;
  readonly shared: SharedState;
  /** To the first thread, which keeps what there can be only one of; null: this is it. */
  readonly home: MessagePort | null;
}

export interface HttpServer {
  readonly port: number;
  /** As `Listener.descriptor`. */
  readonly descriptor: number | null;
  /** Which implementation of the exchange listens. */
  readonly backend: 'uws' | 'node';
  readonly metrics: Metrics;
  /** From now on requests are taken. */
  setModel(model: ServedModel): void;
  /** The first thread: behind `port` is another one's `ThreadPlace.home`. To be called when the model is set. */
  serveThread(port: MessagePort): void;
  /** Takes no more requests (503), waits for those that run, at most `timeoutMs`; true: all ended by themselves. */
  drain(timeoutMs: number): Promise<boolean>;
  /** Closes the port and every connection, when its client has taken what was answered, or after `flushMs`. */
  close(flushMs?: number): Promise<void>;
}

/** Over `port`, or one that is opened here; throws a `start` error where it cannot be had. `place`: left out where one thread answers all. */
export async function createServer(given: Partial<ServerOptions> = {}, port: Port | null = null, place?: ThreadPlace): Promise<HttpServer> {
  const options = { ...optionsDefault, ...given };
  const { index, shared, home } = place ?? { index: 0, shared: createSharedState(1, options.apiKeys.length), home: null };
  const metrics = new Metrics({ routes, sheets: shared.sheets, own: index, startMs: shared.startMs });
  const link = home === null ? null : new HomeLink(home);
  const store = new ResponseStore();
  const context: Context = {
    options,
    metrics,
    serving: null,
    draining: false,
    bodies: new BodyBudget(shared.bodies),
    responses: link ?? new ResponsesHere(store),
    inFlight: new InFlight(shared.load),
    limits: new RateLimits(options.apiKeys, options.rateDefaults, shared.rates),
    tracer: options.tracing === null ? null : new Tracer(options.tracing, options.logger),
    keepAlive: new KeepAlive(options.keepAliveMs),
  };
  const handler = createFrontDoor(context);
  const { listener, backend, serve } = port ?? (await openPort({ ...options, sharing: null }));
  serve(handler);
  const watchLogger = index === 0 ? options.logger : silentLogger; // once is enough
  const unwatch = options.tls !== null && options.tlsRefresh ? watchTls(options.tls, () => listener.reloadTls(), watchLogger) : () => {};
  let reader: PromptThread | null = null;

  return {
    port: listener.port,
    descriptor: listener.descriptor,
    backend,
    metrics,
    setModel(model) {
      const { preparation } = model;
      reader = preparation === null || link !== null ? null : new PromptThread(preparation);
      context.serving = {
        model,
        preparer: new Preparer(model, preparation && (link ?? reader)),
        grammars: new GrammarCompiler(model, link && ((spec) => link.compile(spec))),
        fingerprint: fingerprintOf(model, options),
        since: Math.floor(shared.startMs / 1000),
      };
      metrics.setModel(model.names[0]!, model.engine, model.maxModelLen, model.cacheConfig);
      metrics.setDevices(model.placement.devices);
    },
    serveThread(other) {
      const { grammars } = context.serving!;
      const { errorCodeStyle, logger } = options;
      serveThread(other, { store, reader, grammars, keepAlive: context.keepAlive, errorCodeStyle, logger });
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
      await Promise.all([tracer?.close(), reader?.close(), serving?.grammars.close()]);
      home?.close();
    },
  };
}

function fingerprintOf({ root, vocabSize, maxModelLen }: ServedModel, { fingerprint, version }: ServerOptions): string | null {
  if (fingerprint === 'none') return null;
  if (typeof fingerprint === 'object') return fingerprint.custom;
  const digest = createHash('sha256').update(`${root}|${vocabSize}|${maxModelLen}`).digest('hex').slice(0, 8);
  return fingerprint === 'hash' ? digest : `lockstep-${version}-${digest}`;
}
