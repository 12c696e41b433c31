/** The work that a shutdown waits for: requests that are not answered yet, and responses that are made in the background. */
import type { Exchange } from './exchange.js';

export class InFlight {
  /** Of this thread. */
  #count = 0;
  readonly #load: Int32Array;
  #onIdle: (() => void)[] = [];

  /** `load[0]`: of all threads. */
  constructor(load: Int32Array) {
    this.#load = load;
  }

  add(exchange: Pick<Exchange, 'onEnd'>): void {
    this.#count++;
    Atomics.add(this.#load, 0, 1);
    exchange.onEnd(() => {
      Atomics.sub(this.#load, 0, 1);
      if (--this.#count > 0) return;
      for (const resolve of this.#onIdle) resolve();
      this.#onIdle = [];
    });
  }

  /** On all threads. */
  get total(): number {
    return Atomics.load(this.#load, 0);
  }

  /** Resolves when there is none on this thread. */
  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve));
  }
}
