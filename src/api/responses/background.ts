/**
 * A response that is made in the background: its events are kept, for clients who come later or come back, and it may be cancelled. It is kept
 * where all responses are; what makes it may be another thread's.
 */
import { LockstepError } from '../../errors.js';
import { type Exchange, eventStreamType } from '../exchange.js';
import type { EventStream } from '../sse.js';

/** Characters of events that are kept of one response: some ten thousand tokens; the oldest go first. */
export const eventCharsMax = 4 * 2 ** 20;

export class BackgroundResponse {
  readonly #abortMaker: () => void;
  #isOver = false;
  /** Newest last. */
  #events: string[] = [];
  /** The number of the first of them. */
  #firstNumber = 0;
  #numChars = 0;
  readonly #followers = new Set<EventStream>();
  readonly #onOver: () => void;

  /** `abortMaker`: nobody wants it any more. `onOver`: called once, when it is made, or aborted. */
  constructor(abortMaker: () => void, onOver: () => void) {
    this.#abortMaker = abortMaker;
    this.#onOver = onOver;
  }

  get numChars(): number {
    return this.#numChars;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Events behind the number `after`, those that are there and those that come. Throws where the next one is no longer kept. */
  follow(exchange: Exchange, after: number): void {
    if (after + 1 < this.#firstNumber) {
      const message = `Events up to ${this.#firstNumber - 1} are no longer kept. Retrieve the response whole, or start after that.`;
      throw new LockstepError('invalid_value', message, { param: 'starting_after' });
    }
    const stream = exchange.openStream(eventStreamType);
    const known = this.#events.slice(after + 1 - this.#firstNumber).join('');
    if (this.#isOver) {
      stream.end(known);
    } else {
      stream.send(known);
      this.#followers.add(stream);
      exchange.onEnd(() => this.#followers.delete(stream));
    }
  }

  /** Events have been made. */
  take(events: string): void {
    if (this.#isOver) return;
    for (const follower of this.#followers) follower.send(events);
    for (const event of events.split('\n\n')) {
      if (event === '') continue;
      this.#events.push(`${event}\n\n`);
      this.#numChars += event.length + 2;
    }
    while (this.#numChars > eventCharsMax) {
      this.#numChars -= this.#events.shift()!.length;
      this.#firstNumber++;
    }
  }

  /** Nothing more comes. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const follower of this.#followers) follower.end('');
    this.#followers.clear();
    this.#onOver();
  }

  abort(): void {
    this.end();
    this.#abortMaker();
  }
}
