/**
 * Exchanges over node:http, where the uWebSockets.js binary does not load. Events are framed as chunks by hand and written to the socket
 * directly: 1.4 times the events a CPU second of `res.write`.
 */
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { LockstepError, startError } from '../errors.js';
import { ClientGone, type ExchangeHandler, flushMsDefault, type Listener, type ListenOptions, type TlsOptions } from './exchange.js';
import { ExchangeBase } from './exchange-base.js';
import { clearSocketFile } from './socket-file.js';
import { EventStream } from './sse.js';

/** How long the rest of a refused body is read and dropped, so that the client gets to read the refusal. */
const lingerMs = 500;

class NodeExchange extends ExchangeBase {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #replyHeaders: Record<string, string> = {};
  readonly #streamBufferMax: number;
  #rejectBody: ((error: Error) => void) | null = null;

  constructor(req: IncomingMessage, res: ServerResponse, streamBufferMax: number) {
    super();
    this.#req = req;
    this.#res = res;
    this.#streamBufferMax = streamBufferMax;
    this.method = req.method ?? 'GET';
    const target = req.url ?? '/';
    const mark = target.indexOf('?');
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = mark < 0 ? '' : target.slice(mark + 1);
    // The socket's own event: a reply that waits behind another on its connection has none.
    const gone = () => this.#noticeAbort();
    req.socket.once('close', gone);
    this.onEnd(() => req.socket.off('close', gone));
    res.on('error', () => this.#noticeAbort());
    req.on('error', () => this.#noticeAbort());
  }

  header(name: string): string | undefined {
    const value = this.#req.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  #noticeAbort(): void {
    if (!this.gone()) return;
    this.#rejectBody?.(new ClientGone());
  }

  readBody(maxBytes: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.aborted) return reject(new ClientGone());
      this.#rejectBody = reject;
      const tooLarge = () => reject(new LockstepError('body_too_large', `The request body is larger than ${maxBytes} bytes.`));
      if (Number(this.#req.headers['content-length'] ?? 0) > maxBytes) return tooLarge();
      const chunks: Buffer[] = [];
      let numBytes = 0;
      this.#req.on('data', (chunk: Buffer) => {
        if (numBytes > maxBytes) return;
        numBytes += chunk.length;
        if (numBytes > maxBytes) {
          chunks.length = 0;
          tooLarge();
        } else {
          chunks.push(chunk);
        }
      });
      this.#req.on('end', () => {
        if (numBytes <= maxBytes) resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, numBytes));
      });
    });
  }

  setHeader(name: string, value: string): void {
    const before = this.#replyHeaders[name];
    this.#replyHeaders[name] = before === undefined ? value : `${before}, ${value}`;
  }

  reply(status: number, contentType: string | null, body: string | Uint8Array): void {
    if (!this.replied(status, body)) return;
    if (contentType !== null) this.#replyHeaders['content-type'] = contentType;
    this.#replyHeaders['content-length'] = String(this.replyBytes);
    const unread = !this.#req.complete && this.#req.headers['content-length'] !== '0' && this.method !== 'GET';
    if (unread) {
      this.#replyHeaders['connection'] = 'close';
      const socket = this.#req.socket;
      this.#req.resume();
      setTimeout(() => socket.destroy(), lingerMs).unref();
    }
    this.#res.writeHead(status, this.#replyHeaders);
    this.#res.end(body);
  }

  remoteAddress(): string {
    return this.#req.socket.remoteAddress ?? '';
  }

  protected beginStream(contentType: string): EventStream {
    const res = this.#res;
    let headSent = false;
    // A reply that waits behind another on its connection has no socket yet, and HTTP/1.0 knows no chunks.
    const chunked = this.#req.httpVersion === '1.1' && res.socket !== null;
    const writeHeadOnce = () => {
      if (headSent) return;
      headSent = true;
      res.writeHead(200, { ...this.#replyHeaders, 'content-type': contentType, 'cache-control': 'no-cache' });
      res.flushHeaders();
    };
    const write = (text: string): boolean => {
      const socket = res.socket;
      if (!chunked || socket === null) {
        writeHeadOnce();
        return res.write(text);
      }
      socket.cork();
      writeHeadOnce();
      const took = socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
      socket.uncork();
      return took;
    };
    const stream: EventStream = new EventStream(
      {
        write: (text) => {
          const took = write(text);
          if (!took) (chunked ? res.socket : res)?.once('drain', () => stream.drained());
          return took;
        },
        end: (text) => {
          this.finish();
          if (text !== '') write(text);
          else writeHeadOnce();
          res.end();
        },
        close: () => this.#req.socket.destroy(),
      },
      this.#streamBufferMax,
    );
    return stream;
  }
}

/** What node:tls takes, read from the files as they are now. */
function secureContext({ keyFile, certFile, caFile, clientCertificates, ciphers }: TlsOptions) {
  return {
    key: readFileSync(keyFile),
    cert: readFileSync(certFile),
    ...(caFile === null ? {} : { ca: readFileSync(caFile) }),
    ...(ciphers === null ? {} : { ciphers }),
    requestCert: clientCertificates > 0,
    rejectUnauthorized: clientCertificates === 2,
  };
}

export async function listenNode(options: ListenOptions, handler: ExchangeHandler): Promise<Listener> {
  const { host, port, uds, tls, sharing, streamBufferBytesMax } = options;
  const follows = typeof sharing === 'object' && sharing !== null;
  const take: RequestListener = (req, res) => handler(new NodeExchange(req, res, streamBufferBytesMax));
  const keepAliveTimeout = 65_000;
  const server =
    tls === null ? createServer({ keepAliveTimeout }, take) : createTlsServer({ keepAliveTimeout, ...secureContext(tls) }, take);
  const sockets = new Set<Socket>();
  server.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
    socket.setMaxListeners(0); // one for each pipelined request
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  if (uds !== null && !follows) await clearSocketFile(uds);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'the port is in use' : error.message;
      const where = uds ?? `${host}:${port}`;
      reject(startError(`cannot listen on ${where}: ${reason}`, { param: uds === null ? '--port' : '--uds', cause: error }));
    });
    const place = uds === null ? { host, port, exclusive: true } : { path: uds };
    server.listen(follows ? { fd: sharing.descriptor } : place, resolve);
  });
  const address = server.address();
  return {
    // Node has no public way to a listening socket's descriptor, nor, before version 23, to a port that threads share.
    descriptor: sharing === 'first' ? (server as unknown as { _handle: { readonly fd: number } })._handle.fd : null,
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async reloadTls() {
      if (tls !== null) (server as TlsServer).setSecureContext(secureContext(tls));
    },
    async close(flushMs = flushMsDefault) {
      // What a busy client has not taken yet is still here, and would be lost with the process, or with the connections that look idle to
      // the HTTP server: it closes these together with itself.
      NetServer.prototype.close.call(server);
      const closed = [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
      for (const socket of sockets) socket.destroySoon();
      await Promise.race([Promise.all(closed), delay(flushMs, undefined, { ref: false })]);
      server.closeAllConnections();
      if (uds !== null && !follows) rmSync(uds, { force: true });
    },
  };
}
