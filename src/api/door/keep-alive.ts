/** Comments in streams on which nothing comes for a while, so that no proxy takes the connection for dead. */
import type { Exchange } from '../exchange.js';

export class KeepAlive {
  readonly #streams = new Set<Exchange>();
  readonly #timer: NodeJS.Timeout | null;

  /** 0: never. A stream is quiet for at most so long. */
  constructor(intervalMs: number) {
    this.#timer = intervalMs === 0 ? null : setInterval(() => this.#tick(), intervalMs / 2).unref();
  }

  /** The exchange answers with a stream of events, now or later. */
  watch(exchange: Exchange): void {
    if (this.#timer === null) return;
    this.#streams.add(exchange);
    exchange.onEnd(() => this.#streams.delete(exchange));
  }

  #tick(): void {
    for (const exchange of this.#streams) exchange.ping();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }
}
