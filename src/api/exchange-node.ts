/**
 * Exchanges over node:http, where the uWebSockets.js binary does not load. Events are framed as chunks by hand and written to the socket
 * directly: 1.4 times the events a CPU second of `res.write`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { LockstepError, startError } from '../errors.js';
import { type ErrorFormat, openAiErrors } from './error-body.js';
import { ClientGone, type Exchange, type ExchangeHandler, ExchangeLife, type Listener, type ListenOptions } from './exchange.js';
import { EventStream } from './sse.js';

/** How long the rest of a refused body is read and dropped, so that the client gets to read the refusal. */
const lingerMs = 500;

class NodeExchange implements Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  errors: ErrorFormat = openAiErrors;
  readonly #life = new ExchangeLife();
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #replyHeaders: Record<string, string> = {};
  readonly #streamBufferMax: number;
  #rejectBody: ((error: Error) => void) | null = null;
  stream: EventStream | null = null;

  constructor(req: IncomingMessage, res: ServerResponse, streamBufferMax: number) {
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
    this.#life.onEnd(() => req.socket.off('close', gone));
    res.on('error', () => this.#noticeAbort());
    req.on('error', () => this.#noticeAbort());
  }

  header(name: string): string | undefined {
    const value = this.#req.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
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
    if (!this.#life.replied(status, body)) return;
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

  openStream(contentType: string): EventStream {
    this.#life.status = 200;
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
          this.#life.finish();
          if (text !== '') write(text);
          else writeHeadOnce();
          res.end();
        },
        close: () => this.#req.socket.destroy(),
      },
      this.#streamBufferMax,
    );
    if (this.aborted) stream.abandon();
    this.stream = stream;
    return stream;
  }
}

export async function listenNode({ host, port, streamBufferBytesMax }: ListenOptions, handler: ExchangeHandler): Promise<Listener> {
  const server = createServer({ keepAliveTimeout: 65_000 }, (req, res) => handler(new NodeExchange(req, res, streamBufferBytesMax)));
  server.on('connection', (socket) => socket.setMaxListeners(0)); // one for each pipelined request
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'the port is in use' : error.message;
      reject(startError(`cannot listen on ${host}:${port}: ${reason}`, { param: '--port', cause: error }));
    });
    server.listen({ host, port, exclusive: true }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
