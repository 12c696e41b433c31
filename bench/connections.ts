/** Sockets to the servers that are measured: one request at a time on each, kept alive between requests, as many as there are requests. */
import { connect as connectPlain, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { connect as connectTls } from 'node:tls';
import { AnswerReader, type TimedBody } from './answer-reader.js';

const readBytes = 1 << 14;

interface Pending {
  readonly reader: AnswerReader;
  readonly resolve: (body: TimedBody) => void;
  readonly reject: (error: Error) => void;
}

class Connection {
  readonly #socket: Socket;
  readonly #idle: Connection[];
  #pending: Pending | null = null;
  #isFirst = true;

  constructor(url: URL, idle: Connection[]) {
    this.#idle = idle;
    this.#socket = this.#open(url);
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('timeout', () => this.#fail(new Error(`no data for ${this.#socket.timeout} ms`)));
    this.#socket.on('close', () => this.#closed());
  }

  /** Plain sockets read into one buffer that is theirs: a fresh one for every token costs the client a third of its time. */
  #open(url: URL): Socket {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
    if (url.protocol === 'https:') return connectTls({ host, port, servername: host }).on('data', (bytes: Buffer) => this.#take(bytes));
    const buffer = Buffer.allocUnsafe(readBytes);
    const callback = (length: number) => {
      this.#take(buffer.subarray(0, length));
      return true;
    };
    return connectPlain({ host, port, onread: { buffer, callback } });
  }

  /** Rejects with `StaleConnection` where a kept-alive connection turned out to be closed. */
  exchange(request: string, timeoutMs: number): Promise<TimedBody> {
    return new Promise((resolve, reject) => {
      this.#pending = { reader: new AnswerReader(), resolve, reject };
      this.#socket.ref();
      this.#socket.setTimeout(timeoutMs);
      this.#socket.write(request);
    });
  }

  #take(bytes: Buffer): void {
    if (this.#pending === null) {
      this.#socket.destroy(); // bytes that nobody asked for
      return;
    }
    const { reader, resolve } = this.#pending;
    try {
      reader.push(bytes, performance.now());
    } catch (error) {
      this.#fail(error as Error);
    }
    if (!reader.isComplete) return;
    this.#pending = null;
    this.#isFirst = false;
    this.#socket.setTimeout(0);
    this.#socket.unref(); // an idle connection keeps no process alive
    if (reader.keepsAlive) this.#idle.push(this);
    else this.#socket.destroy();
    resolve(reader.body());
  }

  #closed(): void {
    const at = this.#idle.indexOf(this);
    if (at !== -1) this.#idle.splice(at, 1);
    if (this.#pending?.reader.end()) this.#pending.resolve(this.#pending.reader.body());
    else this.#fail(new Error('the connection was closed before the answer was complete'));
  }

  #fail(error: Error): void {
    const pending = this.#pending;
    this.#pending = null;
    this.#socket.destroy();
    pending?.reject(!this.#isFirst && pending.reader.status === 0 ? new StaleConnection() : error);
  }
}

class StaleConnection extends Error {}

const idleByOrigin = new Map<string, Connection[]>();

/**
 * Sends one request, head and body, and resolves with its timed answer. A kept-alive connection that the server closed while the request
 * was on its way is no failure of the request: it is sent again on another one.
 */
export async function exchange(url: URL, request: string, timeoutMs: number): Promise<TimedBody> {
  const idle = idleByOrigin.get(url.origin) ?? [];
  idleByOrigin.set(url.origin, idle);
  for (;;) {
    const connection = idle.pop() ?? new Connection(url, idle);
    try {
      return await connection.exchange(request, timeoutMs);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
    }
  }
}
