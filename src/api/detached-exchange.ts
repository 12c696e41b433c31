/** An exchange without a client: work that goes on when its request has been answered. Its stream goes to whoever made it. */
import type { Caller } from './door/caller.js';
import type { ErrorFormat } from './error-body.js';
import { ClientGone, type Exchange, ExchangeLife } from './exchange.js';
import { EventStream } from './sse.js';

export class DetachedExchange implements Exchange {
  errors: ErrorFormat;
  caller: Caller;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #origin: Pick<Exchange, 'header'>;
  readonly #life: ExchangeLife;

  /** `origin`: the request that asked for the work. `tell` is given whole events; the exchange is over when the last ones were told. */
  constructor(origin: Pick<Exchange, 'method' | 'path' | 'query' | 'caller' | 'errors' | 'header'>, tell: (events: string) => void) {
    this.#origin = origin;
    this.method = origin.method;
    this.path = origin.path;
    this.query = origin.query;
    this.caller = origin.caller;
    this.errors = origin.errors;
    const write = (events: string) => {
      tell(events);
      return true;
    };
    const end = (events: string) => {
      tell(events);
      this.#life.finish();
    };
    this.#life = new ExchangeLife(() => new EventStream({ write, end, close: () => this.abort() }, Number.POSITIVE_INFINITY));
  }

  /** Whoever wanted the work wants it no more. */
  abort(): void {
    this.#life.abort();
  }

  header(name: string): string | undefined {
    return this.#origin.header(name);
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

  get stream(): EventStream | null {
    return this.#life.stream;
  }

  get hasBegun(): boolean {
    return this.#life.hasBegun;
  }

  onEnd(callback: () => void): void {
    this.#life.onEnd(callback);
  }

  openStream(contentType: string): EventStream {
    return this.#life.openStream(contentType);
  }

  ping(): void {
    this.#life.ping();
  }

  /** The request was read before. */
  readBody(): Promise<Uint8Array> {
    return Promise.reject(new ClientGone());
  }

  setHeader(): void {}

  reply(status: number, _contentType: string | null, body: string | Uint8Array): void {
    this.#life.replied(status, body);
  }

  remoteAddress(): string {
    return '';
  }
}
