/** What the routes see of the responses that are kept, whichever thread keeps them; and how that is where this one does. */
import type { ChatMessage } from '../../chat/template.js';
import { DetachedExchange } from '../detached-exchange.js';
import type { Exchange } from '../exchange.js';
import { answerKept } from './kept.js';
import type { KeptResponse, ResponseStore } from './store.js';

/** What makes a response in the background. */
export interface Maker {
  /** Where it is made; its events are kept. */
  readonly exchange: DetachedExchange;
  /** The response as it is now. Ignored once it was aborted. */
  keep(response: KeptResponse): void;
  /** The client who asked for it gets its events. */
  follow(exchange: Exchange): void;
  /** It cannot begin. */
  discard(): void;
}

export interface Responses {
  /** The conversation of an earlier response. Throws or rejects as `ResponseStore.messagesOf` does. */
  messagesOf(id: string): readonly ChatMessage[] | Promise<readonly ChatMessage[]>;
  /** One that was made while its client waited. Takes the place of one with the same id. */
  keep(response: KeptResponse): void;
  /** Throws, or rejects with, `queue_full` where no more are made in the background. */
  begin(id: string, origin: Exchange): Maker | Promise<Maker>;
  /** As `answerKept` does; throws what it does, or answers with that. */
  answer(exchange: Exchange, rest: string): void;
}

export class ResponsesHere implements Responses {
  readonly #store: ResponseStore;

  constructor(store: ResponseStore) {
    this.#store = store;
  }

  messagesOf(id: string): readonly ChatMessage[] {
    return this.#store.messagesOf(id);
  }

  keep(response: KeptResponse): void {
    this.#store.add({ ...response, background: null });
  }

  begin(id: string, origin: Exchange): Maker {
    const exchange: DetachedExchange = new DetachedExchange(origin, (events) => background.take(events));
    const background = this.#store.begin(() => exchange.abort());
    exchange.onEnd(() => background.end());
    return {
      exchange,
      keep: (response) => this.#store.add({ ...response, background }),
      follow: (client) => background.follow(client, -1),
      discard: () => this.#store.discard(id),
    };
  }

  answer(exchange: Exchange, rest: string): void {
    answerKept(exchange, this.#store, rest);
  }
}
