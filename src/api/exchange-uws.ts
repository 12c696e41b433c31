/**
 * Exchanges over uWebSockets.js. Its rules, all kept here: `req` is read before the handler returns; onAborted and onData are registered
 * before any await; a chunk's bytes are copied, since its ArrayBuffer is detached afterwards; every write is corked (uncorked costs 3-4
 * times as much); `res` is not touched after an abort or an end.
 */

import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { LockstepError, startError } from '../errors.js';
import { prebuilt } from '../prebuilt.js';
import { ClientGone, type ExchangeHandler, flushMsDefault, type Listener, type ListenOptions, statusLine } from './exchange.js';
import { ExchangeBase } from './exchange-base.js';
import { clearSocketFile } from './socket-file.js';
import { EventStream } from './sse.js';
import { sendReply, Unsent, UwsSink } from './uws-output.js';

class UwsExchange extends ExchangeBase {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #res: HttpResponse;
  readonly #headers = new Map<string, string>();
  readonly #replyHeaders: [string, string][] = [];
  readonly #streamBufferMax: number;
  readonly #unsent: Unsent;
  #bodyRead: boolean;
  #rejectBody: ((error: Error) => void) | null = null;

  constructor(res: HttpResponse, req: HttpRequest, streamBufferMax: number, unsent: Unsent) {
    super();
    this.#res = res;
    this.#streamBufferMax = streamBufferMax;
    this.#unsent = unsent;
    this.method = req.getCaseSensitiveMethod().toUpperCase();
    this.path = req.getUrl();
    this.query = req.getQuery() ?? '';
    req.forEach((name, value) => {
      this.#headers.set(name, value);
    });
    this.#bodyRead = this.method === 'GET' || this.method === 'OPTIONS' || this.method === 'HEAD';
    res.onAborted(() => this.#noticeAbort());
  }

  header(name: string): string | undefined {
    return this.#headers.get(name);
  }

  #noticeAbort(): void {
    this.#unsent.remove(this.#res);
    if (!this.gone()) return;
    this.#rejectBody?.(new ClientGone());
  }

  readBody(maxBytes: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.aborted) return reject(new ClientGone());
      this.#rejectBody = reject;
      const announced = Number(this.#headers.get('content-length') ?? 0);
      const tooLarge = () => reject(new LockstepError('body_too_large', `The request body is larger than ${maxBytes} bytes.`));
      if (announced > maxBytes) return tooLarge();
      let chunks: Uint8Array[] = [];
      let numBytes = 0;
      this.#res.onData((chunk, isLast) => {
        if (numBytes > maxBytes) return;
        numBytes += chunk.byteLength;
        if (numBytes > maxBytes) {
          chunks = [];
          return tooLarge();
        }
        chunks.push(new Uint8Array(chunk.slice(0)));
        if (!isLast) return;
        this.#bodyRead = true;
        resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, numBytes));
      });
    });
  }

  setHeader(name: string, value: string): void {
    this.#replyHeaders.push([name, value]);
  }

  #writeHead(status: number, contentType: string | null): void {
    this.#res.writeStatus(statusLine(status));
    if (contentType !== null) this.#res.writeHeader('content-type', contentType);
    for (const [name, value] of this.#replyHeaders) this.#res.writeHeader(name, value);
  }

  reply(status: number, contentType: string | null, body: string | Uint8Array): void {
    if (!this.replied(status, body)) return;
    // What is left of a body that nobody read is not the next request.
    sendReply(this.#res, () => this.#writeHead(status, contentType), body, { closes: !this.#bodyRead, unsent: this.#unsent });
  }

  remoteAddress(): string {
    return Buffer.from(this.#res.getRemoteAddressAsText()).toString();
  }

  protected beginStream(contentType: string): EventStream {
    const res = this.#res;
    const writeHead = () => {
      this.setHeader('cache-control', 'no-cache');
      this.#writeHead(200, contentType);
    };
    const sink = new UwsSink(res, writeHead, () => this.finish(), this.#unsent);
    const stream = new EventStream(sink, this.#streamBufferMax);
    res.onWritable(() => {
      if (sink.takesMore()) stream.drained();
      return true;
    });
    return stream;
  }
}

/** A port that is free now, or why the one that is wanted is not: uWebSockets.js only says that it cannot be had. */
function probePort(host: string, wanted: number): Promise<{ readonly port: number } | { readonly reason: string }> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ reason: error.code === 'EADDRINUSE' ? 'the port is in use' : error.message }),
    );
    probe.listen({ host, port: wanted, exclusive: true }, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve({ port }));
    });
  });
}

/** Null where the binary of this platform and Node version does not load; `reason` says why. */
export function loadUws(): { module: typeof import('uWebSockets.js') } | { module: null; reason: string } {
  try {
    const file = prebuilt(`uws-${process.versions.modules}.node`) ?? 'uWebSockets.js'; // the package only chooses a binary
    return { module: createRequire(import.meta.url)(file) as typeof import('uWebSockets.js') };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      module: null,
      reason:
        reason
          .split('\n')
          .filter((line) => line.trim() !== '')
          .at(-1) ?? reason,
    };
  }
}

type Uws = typeof import('uWebSockets.js');
type ListenWithHost = (host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void) => unknown;

/** LIBUS_LISTEN_DEFAULT: others may listen on the port too (SO_REUSEPORT), and the kernel deals connections out. */
const sharedPort = 0;

function openApp(uws: Uws, { tls, streamBufferBytesMax }: ListenOptions, handler: ExchangeHandler, unsent: Unsent): TemplatedApp {
  const app =
    tls === null
      ? uws.App()
      : uws.SSLApp({
          key_file_name: tls.keyFile,
          cert_file_name: tls.certFile,
          ...(tls.ciphers === null ? {} : { ssl_ciphers: tls.ciphers }),
        });
  return app.any('/*', (res, req) => handler(new UwsExchange(res, req, streamBufferBytesMax, unsent)));
}

function listenOn(app: TemplatedApp, { host, uds }: ListenOptions, port: number, flags: number): Promise<us_listen_socket | false> {
  return new Promise((resolve) => {
    if (uds !== null) app.listen_unix(resolve, uds);
    // The typings lack the overload with host and options.
    else (app.listen as unknown as ListenWithHost).call(app, host, port, flags, resolve);
  });
}

/** With TLS the port is shared too, so that an app with a new certificate can take it over from the one before. */
export async function listenUws(uws: Uws, options: ListenOptions, handler: ExchangeHandler): Promise<Listener> {
  const { host, uds, tls, sharing } = options;
  const follows = typeof sharing === 'object' && sharing !== null;
  const isShared = tls !== null || sharing !== null;
  const { LIBUS_LISTEN_EXCLUSIVE_PORT: exclusivePort } = uws as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number };
  if (uds !== null) await clearSocketFile(uds);
  // A stale server that shares its port would silently take half of the requests; and a port that the system chooses cannot be shared.
  const free = uds === null && isShared && !follows ? await probePort(host, options.port) : options;
  const unsent = new Unsent();
  const apps = [openApp(uws, options, handler, unsent)];
  const first = 'port' in free && (await listenOn(apps[0]!, options, free.port, isShared ? sharedPort : exclusivePort));
  if (first === false) {
    apps[0]!.close();
    if (uds !== null) throw startError(`cannot listen on ${uds}`, { param: '--uds' });
    const found = 'reason' in free ? free : await probePort(host, options.port);
    const reason = 'reason' in found ? found.reason : 'the port is in use';
    throw startError(`cannot listen on ${host}:${options.port}: ${reason}`, { param: '--port' });
  }
  let socket: us_listen_socket = first;
  let open = true;
  const actualPort = uds === null ? uws.us_socket_local_port(first) : 0;
  return {
    port: actualPort,
    descriptor: null,
    async reloadTls() {
      if (tls === null || uds !== null || !open) return;
      const app = openApp(uws, options, handler, unsent);
      const next = await listenOn(app, options, actualPort, sharedPort);
      if (next === false) {
        app.close();
        throw new Error(`port ${actualPort} cannot be shared`);
      }
      uws.us_listen_socket_close(socket);
      socket = next;
      apps.push(app); // those before it still have connections
    },
    async close(flushMs = flushMsDefault) {
      if (!open) return;
      open = false;
      uws.us_listen_socket_close(socket);
      await unsent.none(flushMs);
      for (const app of apps) app.close();
      if (uds !== null) rmSync(uds, { force: true });
    },
  };
}
