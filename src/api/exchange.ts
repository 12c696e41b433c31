/**
 * One HTTP exchange, as the routes see it: the abort is noticed first, the body is bounded, there is one reply. `exchange-uws.ts` and
 * `exchange-node.ts` implement it; nothing else in the server knows a socket. Event streams are framed and bounded in `sse.ts`.
 */
import type { ErrorFormat } from './error-body.js';
import type { EventStream } from './sse.js';

export interface Exchange {
  /** Upper case. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** What follows the path's question mark; '' for none. */
  readonly query: string;
  /** `name` in lower case. */
  header(name: string): string | undefined;
  /** The client went away before the reply was complete. */
  readonly aborted: boolean;
  /** The reply is complete, or the client has gone. */
  readonly over: boolean;
  /** Of the reply; 0: none has begun. */
  readonly status: number;
  /** Bytes of a reply that was sent as a whole; 0 for streams. */
  readonly replyBytes: number;
  /** Called once when the exchange is over; at once if it is already. */
  onEnd(callback: () => void): void;
  /** Must be called before the handler first awaits. Rejects with `body_too_large`, or with `ClientGone`. */
  readBody(maxBytes: number): Promise<Uint8Array>;
  /** Joins the headers of whatever reply follows. */
  setHeader(name: string, value: string): void;
  /** The whole reply, once. Does nothing after an abort. */
  reply(status: number, contentType: string | null, body: string | Uint8Array): void;
  /** Starts a 200 reply that comes in pieces; its head leaves with the first of them, in the same write. */
  openStream(contentType: string): EventStream;
  /** What `openStream` gave; null before. */
  readonly stream: EventStream | null;
  /** How errors are written; OpenAI's way until the route, or whoever opens a stream, says otherwise. */
  errors: ErrorFormat;
}

/** Thrown inside a handler whose client has gone: nobody is left to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export type ExchangeHandler = (exchange: Exchange) => void;

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Most bytes of events that wait for a slow reader before its connection is closed. */
  readonly streamBufferBytesMax: number;
}

export interface Listener {
  readonly port: number;
  /** Closes the port and every connection. */
  close(): void;
}

/** Throws a `start` error where the port cannot be had. */
export type Listen = (options: ListenOptions, handler: ExchangeHandler) => Promise<Listener>;

const statusTexts: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Payload Too Large',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

export const statusLine = (status: number): string => `${status} ${statusTexts[status] ?? 'Unknown'}`;

export const eventStreamType = 'text/event-stream; charset=utf-8';

/** How an exchange ends: once, by its reply or by the client's going. Both implementations hold one. */
export class ExchangeLife {
  aborted = false;
  over = false;
  status = 0;
  replyBytes = 0;
  #onEnd: (() => void)[] = [];

  onEnd(callback: () => void): void {
    if (this.over) callback();
    else this.#onEnd.push(callback);
  }

  /** The client went away. False: the exchange was over already. */
  abort(): boolean {
    if (this.over) return false;
    this.aborted = true;
    return this.finish();
  }

  /** The whole reply leaves now. False: the exchange was over already. */
  replied(status: number, body: string | Uint8Array): boolean {
    if (this.over) return false;
    this.status = status;
    this.replyBytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    return this.finish();
  }

  /** The reply is complete. False: the exchange was over already. */
  finish(): boolean {
    if (this.over) return false;
    this.over = true;
    for (const callback of this.#onEnd) callback();
    this.#onEnd = [];
    return true;
  }
}
