/**
 * One HTTP exchange, as the routes see it: the abort is noticed first, the body is bounded, there is one reply. `exchange-uws.ts` and
 * `exchange-node.ts` implement it; nothing else in the server knows a socket. Event streams are framed and bounded in `sse.ts`.
 */

import type { Caller } from './door/caller.js';
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
  /**
   * A comment in the stream of events that this exchange is to become, where nothing else was sent since the last one. The routes see no
   * stream before they open it; but from then on an error can only be an event (`hasBegun`).
   */
  ping(): void;
  /** The head of the reply has left. */
  readonly hasBegun: boolean;
  /** Whom it is counted for; the front door finds out. */
  caller: Caller;
  /** As text; for the log. Valid only before the handler first awaits. */
  remoteAddress(): string;
  /** How errors are written; OpenAI's way until the route, or whoever opens a stream, says otherwise. */
  errors: ErrorFormat;
}

/** Thrown inside a handler whose client has gone: nobody is left to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export type ExchangeHandler = (exchange: Exchange) => void;

/** PEM files of the server and, where clients must show certificates too, of who signed those. */
export interface TlsOptions {
  readonly keyFile: string;
  readonly certFile: string;
  readonly caFile: string | null;
  /** As Python's ssl: 0 asks for none, 1 accepts none, 2 demands one. */
  readonly clientCertificates: 0 | 1 | 2;
  /** OpenSSL's list of cipher suites up to TLS 1.2; null: its own. */
  readonly ciphers: string | null;
}

/**
 * Of threads that listen at one port: the first one finds it free, the others follow. `descriptor`: their own copy of the first one's listening
 * socket; null: the kernel shares the port between sockets (SO_REUSEPORT).
 */
export type Sharing = 'first' | { readonly descriptor: number | null };

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** A Unix domain socket instead of host and port; null: none. */
  readonly uds: string | null;
  /** null: plain HTTP. */
  readonly tls: TlsOptions | null;
  /** null: this thread listens alone. */
  readonly sharing: Sharing | null;
  /** Most bytes of events that wait for slow readers, all together; those with more than their share are cut off. */
  readonly streamBufferBytesMax: number;
}

export interface Listener {
  /** 0 on a Unix domain socket. */
  readonly port: number;
  /** Of the first thread's listening socket, of which those that follow need a copy each; null: they need none. */
  readonly descriptor: number | null;
  /** New connections get the certificate that the files hold now; those that are open stay. */
  reloadTls(): Promise<void>;
  /** Closes the port, and every connection when its client has taken what was answered, or after `flushMs`. */
  close(flushMs?: number): Promise<void>;
}

/** How long closing waits for clients to take the last of their answers, where nobody says how long. */
export const flushMsDefault = 5000;

/** Throws a `start` error where the port cannot be had. */
export type Listen = (options: ListenOptions, handler: ExchangeHandler) => Promise<Listener>;

const statusTexts: Readonly<Record<number, string>> = {
  200: 'OK',
  304: 'Not Modified',
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
