/** The work that a shutdown waits for: requests that are not answered yet, and responses that are made in the background. */
import type { Exchange } from './exchange.js';

export class InFlight {
  count = 0;
  #onIdle: (() => void)[] = [];

  add(exchange: Pick<Exchange, 'onEnd'>): void {
    this.count++;
    exchange.onEnd(() => {
      if (--this.count > 0) return;
      for (const resolve of this.#onIdle) resolve();
      this.#onIdle = [];
    });
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    return this.count === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }
}
