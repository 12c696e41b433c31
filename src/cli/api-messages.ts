/** What crosses between the main thread and an API thread beside it, but for what `api/threads/` has: plain data and ports. */
import type { HttpServer, ThreadPlace } from '../api/server.js';
import type { CachePlace } from '../cache/disk-cache.js';
import type { EngineLink } from '../engine/engine-port.js';
import type { ErrorCode } from '../errors.js';
import type { DescribedEngine } from './describe-model.js';
import type { ServeOptions } from './options.js';
import type { PlainServerOptions } from './server-options.js';

/** All that a thread needs to serve the model that the engine runs. */
export interface ApiTask extends Omit<DescribedEngine, 'engine' | 'cache'> {
  readonly options: ServeOptions;
  readonly serverOptions: PlainServerOptions;
  readonly cache: CachePlace | null;
  readonly link: EngineLink;
  readonly place: ThreadPlace;
}

/** What a thread is told; it answers each, but for 'fail', with a report of the same number. */
export type Command =
  | { readonly kind: 'load'; readonly task: ApiTask }
  | { readonly kind: 'listen'; readonly port: number; readonly backend: HttpServer['backend']; readonly descriptor: number | null }
  | { readonly kind: 'drain'; readonly timeoutMs: number }
  | { readonly kind: 'close'; readonly flushMs: number | undefined }
  | { readonly kind: 'fail'; readonly reason: string };

export interface Numbered {
  readonly number: number;
  readonly command: Command;
}

export type Report =
  /** `value`: of a drain, whether all requests ended by themselves. */
  | { readonly kind: 'done'; readonly number: number; readonly value: boolean }
  | { readonly kind: 'refused'; readonly number: number; readonly code: ErrorCode; readonly message: string; readonly param: string | null }
  /** An error that nobody expected. The thread goes on, so that its clients hear of it. */
  | { readonly kind: 'fault'; readonly reason: string };
