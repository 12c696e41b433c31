/**
 * What all exchanges have in common: the stream that a reply may become, and the one end, by the reply or by the client's going. What is below
 * them, a socket or none, differs in all else.
 */
import { anybody, type Caller } from './door/caller.js';
import { type ErrorFormat, openAiErrors } from './error-body.js';
import { type Exchange, eventStreamType } from './exchange.js';
import type { EventStream } from './sse.js';

export abstract class ExchangeBase implements Exchange {
  abstract readonly method: string;
  abstract readonly path: string;
  abstract readonly query: string;
  errors: ErrorFormat = openAiErrors;
  caller: Caller = anybody;
  aborted = false;
  over = false;
  status = 0;
  replyBytes = 0;
  /** What the route has opened. */
  stream: EventStream | null = null;
  /** The stream that was begun, perhaps before the route has opened it. */
  #events: EventStream | null = null;
  #onEnd: (() => void)[] = [];

  abstract header(name: string): string | undefined;
  abstract readBody(maxBytes: number): Promise<Uint8Array>;
  abstract setHeader(name: string, value: string): void;
  abstract reply(status: number, contentType: string | null, body: string | Uint8Array): void;
  abstract remoteAddress(): string;
  /** The reply is to be a stream; its status is 200. */
  protected abstract beginStream(contentType: string): EventStream;

  get hasBegun(): boolean {
    return this.#events !== null;
  }

  openStream(contentType: string): EventStream {
    this.stream = this.#begun(contentType);
    return this.stream;
  }

  ping(): void {
    if (!this.over) this.#begun(eventStreamType).ping();
  }

  #begun(contentType: string): EventStream {
    if (this.#events !== null) return this.#events;
    this.status = 200;
    this.#events = this.beginStream(contentType);
    if (this.aborted) this.#events.abandon();
    return this.#events;
  }

  onEnd(callback: () => void): void {
    if (this.over) callback();
    else this.#onEnd.push(callback);
  }

  /** The client went away. False: the exchange was over already. */
  protected gone(): boolean {
    if (this.over) return false;
    this.aborted = true;
    this.#events?.abandon();
    return this.finish();
  }

  /** The whole reply leaves now. False: the exchange was over already. */
  protected replied(status: number, body: string | Uint8Array): boolean {
    if (this.over) return false;
    this.status = status;
    this.replyBytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    return this.finish();
  }

  /** The reply is complete. False: the exchange was over already. */
  protected finish(): boolean {
    if (this.over) return false;
    this.over = true;
    for (const callback of this.#onEnd) callback();
    this.#onEnd = [];
    return true;
  }
}
