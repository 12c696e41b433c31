/**
 * Exchanges over uWebSockets.js. Its rules, all kept here: `req` is read before the handler returns; onAborted and onData are registered
 * before any await; a chunk's bytes are copied, since its ArrayBuffer is detached afterwards; every write is corked (uncorked costs 3-4
 * times as much); `res` is not touched after an abort or an end.
 */

import type { HttpRequest, HttpResponse, us_listen_socket } from 'uWebSockets.js';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { LockstepError, startError } from '../errors.js';
import { type ErrorFormat, openAiErrors } from './error-body.js';
import {
  ClientGone,
  type Exchange,
  type ExchangeHandler,
  ExchangeLife,
  type Listener,
  type ListenOptions,
  statusLine,
} from './exchange.js';
import { EventStream, type StreamSink } from './sse.js';

class UwsExchange implements Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  errors: ErrorFormat = openAiErrors;
  readonly #life = new ExchangeLife();
  readonly #res: HttpResponse;
  readonly #headers = new Map<string, string>();
  readonly #replyHeaders: [string, string][] = [];
  readonly #streamBufferMax: number;
  #bodyRead: boolean;
  #rejectBody: ((error: Error) => void) | null = null;
  stream: EventStream | null = null;

  constructor(res: HttpResponse, req: HttpRequest, streamBufferMax: number) {
    this.#res = res;
    this.#streamBufferMax = streamBufferMax;
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

  get aborted(): boolean {
    return this.#life.aborted;
  }

  get over(): boolean {
    return this.#life.over;
  }

  get status(): number {
    return this.#life.status;
  }

  get replyBytes(): number {
    return this.#life.replyBytes;
  }

  onEnd(callback: () => void): void {
    this.#life.onEnd(callback);
  }

  #noticeAbort(): void {
    if (!this.#life.abort()) return;
    this.stream?.abandon();
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
    if (!this.#life.replied(status, body)) return;
    this.#res.cork(() => {
      this.#writeHead(status, contentType);
      this.#res.end(body, !this.#bodyRead); // what is left of a body that nobody read is not the next request
    });
  }

  openStream(contentType: string): EventStream {
    this.#life.status = 200;
    const res = this.#res;
    const writeHead = () => {
      this.setHeader('cache-control', 'no-cache');
      this.#writeHead(200, contentType);
    };
    const stream = new EventStream(new UwsSink(res, writeHead, () => this.#life.finish()), this.#streamBufferMax);
    if (this.aborted) stream.abandon();
    this.stream = stream;
    res.onWritable(() => {
      stream.drained();
      return true;
    });
    return stream;
  }
}

/** The socket's side of a stream. What is called in a cork is made once: a closure for every token would be the larger part of a write. */
class UwsSink implements StreamSink {
  readonly #res: HttpResponse;
  readonly #writeHead: () => void;
  readonly #onEnd: () => void;
  readonly #writeCorked: () => void;
  #headSent = false;
  #text = '';
  #took = true;

  /** `writeHead` is called once, before the first text; `onEnd` when the last is about to leave. */
  constructor(res: HttpResponse, writeHead: () => void, onEnd: () => void) {
    this.#res = res;
    this.#writeHead = writeHead;
    this.#onEnd = onEnd;
    this.#writeCorked = () => {
      this.#writeHeadOnce();
      this.#took = res.write(this.#text);
    };
  }

  #writeHeadOnce(): void {
    if (this.#headSent) return;
    this.#headSent = true;
    this.#writeHead();
  }

  write(text: string): boolean {
    this.#text = text;
    this.#res.cork(this.#writeCorked);
    this.#text = '';
    return this.#took;
  }

  end(text: string): void {
    this.#onEnd();
    this.#res.cork(() => {
      this.#writeHeadOnce();
      this.#res.end(text);
    });
  }

  close(): void {
    this.#res.close();
  }
}

/** Why a port was refused: uWebSockets.js only says that it was. */
function whyRefused(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE' ? 'the port is in use' : error.message));
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve('the port is in use')));
  });
}

/** Null where the binary of this platform and Node version does not load; `reason` says why. */
export function loadUws(): { module: typeof import('uWebSockets.js') } | { module: null; reason: string } {
  try {
    return { module: createRequire(import.meta.url)('uWebSockets.js') as typeof import('uWebSockets.js') };
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

type ListenWithHost = (host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void) => unknown;

export async function listenUws(
  uws: typeof import('uWebSockets.js'),
  { host, port, streamBufferBytesMax }: ListenOptions,
  handler: ExchangeHandler,
): Promise<Listener> {
  const app = uws.App();
  app.any('/*', (res, req) => handler(new UwsExchange(res, req, streamBufferBytesMax)));
  const socket = await new Promise<us_listen_socket | false>((resolve) => {
    // Exclusive: by default the port is shared (SO_REUSEPORT), and a stale server would silently take half of the requests.
    // The typings lack the constant and the overload with host and options.
    (app.listen as unknown as ListenWithHost).call(
      app,
      host,
      port,
      (uws as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number }).LIBUS_LISTEN_EXCLUSIVE_PORT,
      resolve,
    );
  });
  if (socket === false) {
    app.close();
    throw startError(`cannot listen on ${host}:${port}: ${await whyRefused(host, port)}`, { param: '--port' });
  }
  let open = true;
  return {
    port: uws.us_socket_local_port(socket),
    close() {
      if (open) app.close();
      open = false;
    },
  };
}
