/** An exchange without a client: work that goes on when its request has been answered. Its stream goes to whoever made it. */
import { ClientGone, type Exchange } from './exchange.js';
import { ExchangeBase } from './exchange-base.js';
import { EventStream } from './sse.js';

export class DetachedExchange extends ExchangeBase {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #origin: Pick<Exchange, 'header'>;
  readonly #tell: (events: string) => void;

  /** `origin`: the request that asked for the work. `tell` is given whole events; the exchange is over when the last ones were told. */
  constructor(origin: Pick<Exchange, 'method' | 'path' | 'query' | 'caller' | 'errors' | 'header'>, tell: (events: string) => void) {
    super();
    this.method = origin.method;
    this.path = origin.path;
    this.query = origin.query;
    this.caller = origin.caller;
    this.errors = origin.errors;
    this.#origin = origin;
    this.#tell = tell;
  }

  /** Whoever wanted the work wants it no more. */
  abort(): void {
    this.gone();
  }

  header(name: string): string | undefined {
    return this.#origin.header(name);
  }

  /** The request was read before. */
  readBody(): Promise<Uint8Array> {
    return Promise.reject(new ClientGone());
  }

  setHeader(): void {}

  reply(status: number, _contentType: string | null, body: string | Uint8Array): void {
    this.replied(status, body);
  }

  remoteAddress(): string {
    return '';
  }

  protected beginStream(): EventStream {
    const write = (events: string) => {
      this.#tell(events);
      return true;
    };
    const end = (events: string) => {
      write(events);
      this.finish();
    };
    return new EventStream({ write, end, close: () => this.abort() }, Number.POSITIVE_INFINITY);
  }
}
