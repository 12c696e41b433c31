/** What a route's handler gets besides the exchange: options, the served model, what is running. Owned by `server.ts`. */
import { LockstepError } from '../errors.js';
import type { Logger } from '../log.js';
import type { Metrics } from '../metrics/metrics.js';
import type { CorsOptions } from './cors.js';
import type { KeepAlive } from './door/keep-alive.js';
import type { ApiKey } from './door/keys.js';
import type { RateDefaults, RateLimits } from './door/rate-limit.js';
import type { TraceOptions, Tracer } from './door/tracing.js';
import type { ErrorCodeStyle } from './error-body.js';
import type { Exchange, TlsOptions } from './exchange.js';
import type { UnknownFields } from './fields.js';
import type { GrammarCompiler } from './grammar-compiler.js';
import type { InFlight } from './in-flight.js';
import type { BodyBudget } from './json-body.js';
import type { JsonObject } from './json-object.js';
import type { Preparer } from './prepare.js';
import type { Responses } from './responses/keeper.js';
import type { ServedModel } from './served-model.js';

export interface ServerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** A Unix domain socket instead of host and port; null: none. */
  readonly uds: string | null;
  /** null: plain HTTP. */
  readonly tls: TlsOptions | null;
  /** Whether the files of TLS are read again when they change. */
  readonly tlsRefresh: boolean;
  /** Prefix that routes may carry; '' for none. */
  readonly rootPath: string;
  /** Empty: no key is asked for. */
  readonly apiKeys: readonly ApiKey[];
  /** Limits of keys that have none of their own. */
  readonly rateDefaults: RateDefaults;
  /** Every reply has an id, chosen by the client or made here. */
  readonly requestIdHeaders: boolean;
  /** How long a stream of events may be quiet; 0: as long as it is. */
  readonly keepAliveMs: number;
  /** A record for every request, but for those to some paths; null: none. */
  readonly accessLog: { readonly logger: Pick<Logger, 'info'>; readonly exceptPaths: readonly string[] } | null;
  readonly maxBodyBytes: number;
  readonly cors: CorsOptions;
  readonly unknownFields: UnknownFields;
  readonly errorCodeStyle: ErrorCodeStyle;
  readonly responseRole: string;
  /** Of Lockstep, as /version shows it. */
  readonly version: string;
  /** Whether usage tells how much of the prompt was cached. */
  readonly promptTokensDetails: boolean;
  /** `--enable-per-request-metrics` */
  readonly perRequestMetrics: boolean;
  /** Whether every stream carries usage, asked for or not. */
  readonly forceIncludeUsage: boolean;
  /** Where traces go; null: nowhere. */
  readonly tracing: TraceOptions | null;
  /** What of prompts and answers is logged, each up to so many characters; null: nothing. */
  readonly textLog: { readonly prompts: boolean; readonly outputs: boolean; readonly lenMax: number } | null;
  /** Which of the routes that not everybody should reach are there. */
  readonly devMode: boolean;
  readonly sleepMode: boolean;
  readonly tokenizerInfo: boolean;
  readonly page: boolean;
  readonly docs: boolean;
  /** `system_fingerprint` of the answers: what it is made of, or what it is. */
  readonly fingerprint: FingerprintMode;
  /** The flags by name, without secrets, as /server_info shows them. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly streamBufferBytesMax: number;
  /** auto: uWebSockets.js where its binary loads, else node:http. */
  readonly backend: 'auto' | 'uws' | 'node';
  readonly logger: Logger;
}

/** full: version and hash of the model; hash: that alone; none: null. */
export type FingerprintMode = 'full' | 'hash' | 'none' | { readonly custom: string };

/** A model that takes requests, with what belongs to serving it. */
export interface Serving {
  readonly model: ServedModel;
  readonly preparer: Preparer;
  readonly grammars: GrammarCompiler;
  /** `system_fingerprint`: equal for servers that give equal answers; null: not told. */
  readonly fingerprint: string | null;
  /** Unix seconds; `created` of /v1/models. */
  readonly since: number;
}

export interface Context {
  readonly options: ServerOptions;
  readonly metrics: Metrics;
  /** null while loading. */
  serving: Serving | null;
  draining: boolean;
  readonly bodies: BodyBudget;
  readonly responses: Responses;
  readonly inFlight: InFlight;
  readonly limits: RateLimits;
  /** null: no traces are written. */
  readonly tracer: Tracer | null;
  readonly keepAlive: KeepAlive;
}

export type HealthState = 'loading' | 'ready' | 'draining' | 'failed';

export function healthState(context: Context): HealthState {
  if (context.draining) return 'draining';
  return context.serving === null ? 'loading' : context.serving.model.engine.state();
}

const notReadyMessages = {
  loading: 'The model is still being loaded. Try again in a moment.',
  draining: 'The server is shutting down and takes no new requests.',
  failed: 'The engine has failed and is being restarted.',
} as const;
const retryAfterSeconds = 2;

export const notReady = (state: keyof typeof notReadyMessages): LockstepError =>
  new LockstepError('not_ready', notReadyMessages[state], { retryAfterSeconds });

/** The model, if requests are taken now; else throws `not_ready`. */
export function servingNow(context: Context): Serving {
  const state = healthState(context);
  if (state === 'ready' && context.serving !== null) return context.serving;
  throw notReady(state === 'ready' ? 'loading' : state);
}

/** A full queue is answered before the body is looked at closely. The engine itself has the last word. */
export function checkQueue({ engine, queueLenMax }: ServedModel): void {
  if (engine.waiting() < queueLenMax) return;
  throw new LockstepError('queue_full', `The queue is full: ${queueLenMax} requests are waiting. Try again later.`, {
    retryAfterSeconds: 1,
  });
}

/** Throws `model_not_found` where the request asks for another model. */
export function checkModelName(body: JsonObject, { names }: ServedModel): void {
  const asked = body['model'];
  if (asked === null || asked === undefined || asked === '' || names.includes(asked as string)) return;
  throw new LockstepError('model_not_found', `The model \`${asked}\` does not exist. Valid aliases: ${names.join(', ')}.`, {
    param: 'model',
  });
}

/** With `--unknown-fields warn`: the reply says which fields had no effect. */
export function warnOfUnknown(exchange: Exchange, names: readonly string[]): void {
  for (const name of names) {
    exchange.setHeader(
      'warning',
      `299 lockstep "Unrecognized request argument supplied: ${name.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?')}"`,
    );
  }
}
