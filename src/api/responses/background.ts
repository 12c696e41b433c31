/** A response that is made in the background: its events are kept, for clients who come later or come back, and it may be cancelled. */
import { LockstepError } from '../../errors.js';
import { DetachedExchange } from '../detached-exchange.js';
import { type Exchange, eventStreamType } from '../exchange.js';
import type { EventStream } from '../sse.js';

/** Characters of events that are kept of one response: some ten thousand tokens; the oldest go first. */
export const eventCharsMax = 4 * 2 ** 20;

export class BackgroundResponse {
  /** Where it is made. */
  readonly exchange: DetachedExchange;
  /** Newest last. */
  #events: string[] = [];
  /** The number of the first of them. */
  #firstNumber = 0;
  #numChars = 0;
  readonly #followers = new Set<EventStream>();

  constructor(origin: Exchange) {
    this.exchange = new DetachedExchange(origin, (events) => this.#take(events));
    this.exchange.onEnd(() => {
      for (const follower of this.#followers) follower.end('');
      this.#followers.clear();
    });
  }

  get numChars(): number {
    return this.#numChars;
  }

  /** Events behind the number `after`, those that are there and those that come. Throws where the next one is no longer kept. */
  follow(exchange: Exchange, after: number): void {
    if (after + 1 < this.#firstNumber) {
      const message = `Events up to ${this.#firstNumber - 1} are no longer kept. Retrieve the response whole, or start after that.`;
      throw new LockstepError('invalid_value', message, { param: 'starting_after' });
    }
    const stream = exchange.openStream(eventStreamType);
    const known = this.#events.slice(after + 1 - this.#firstNumber).join('');
    if (this.exchange.over) {
      stream.end(known);
    } else {
      stream.send(known);
      this.#followers.add(stream);
      exchange.onEnd(() => this.#followers.delete(stream));
    }
  }

  #take(events: string): void {
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
}
