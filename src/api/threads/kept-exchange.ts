/** An exchange of another thread's client, about a response that is kept here: what is answered goes to that thread. */
import { anybody } from '../door/caller.js';
import { ClientGone } from '../exchange.js';
import { ExchangeBase } from '../exchange-base.js';
import { EventStream } from '../sse.js';
import type { KeptExchange as Asked, FromHome } from './messages.js';

export class KeptExchange extends ExchangeBase {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #number: number;
  readonly #send: (message: FromHome) => void;
  readonly #headers: [string, string][] = [];

  constructor({ method, path, query }: Asked, number: number, send: (message: FromHome) => void) {
    super();
    this.method = method;
    this.path = path;
    this.query = query;
    this.caller = anybody;
    this.#number = number;
    this.#send = send;
  }

  /** The client has gone. */
  abort(): void {
    this.gone();
  }

  header(): undefined {
    return undefined;
  }

  readBody(): Promise<Uint8Array> {
    return Promise.reject(new ClientGone());
  }

  setHeader(name: string, value: string): void {
    this.#headers.push([name, value]);
  }

  reply(status: number, contentType: string | null, body: string | Uint8Array): void {
    if (!this.replied(status, body)) return;
    this.#send({ kind: 'reply', number: this.#number, reply: { status, contentType, headers: this.#headers, body } });
  }

  remoteAddress(): string {
    return '';
  }

  /** What waits for a slow reader waits on its own thread, and is bounded there. */
  protected beginStream(contentType: string): EventStream {
    const pass = (events: string, isLast: boolean) => this.#send({ kind: 'events', number: this.#number, contentType, events, isLast });
    const write = (events: string) => {
      pass(events, false);
      return true;
    };
    const end = (events: string) => {
      pass(events, true);
      this.finish();
    };
    return new EventStream({ write, end, close: () => this.abort() }, Number.POSITIVE_INFINITY);
  }
}
