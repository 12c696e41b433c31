/**
 * Responses kept in memory, for `previous_response_id` and retrieval, within a bound: those not asked for longest go first. One thread keeps those of
 * all; `keeper.ts` has what the routes see of that.
 */
import type { ChatMessage } from '../../chat/template.js';
import { LockstepError } from '../../errors.js';
import { BackgroundResponse } from './background.js';
import type { Item } from './translate.js';

export const storedResponsesMax = 4096;
/** Characters of all that is kept; a response that is longer by itself is not kept. */
export const storedCharsMax = 64 * 2 ** 20;

/** Plain data. */
export interface KeptResponse {
  readonly id: string;
  /** The response as it is, as JSON. */
  readonly json: string;
  /** As it was given. */
  readonly input: readonly Item[];
  /** The conversation up to and with the answer, without instructions; null: there is no answer. */
  readonly messages: readonly ChatMessage[] | null;
}

export interface StoredResponse extends KeptResponse {
  /** Null: it was made while its client waited. */
  readonly background: BackgroundResponse | null;
}

/** Responses that are being made in the background. */
export const backgroundMax = 256;

export class ResponseStore {
  /**
   * Each takes in what another thread has sent so far. They are called before an id is said to be unknown: a client may ask one thread for what it
   * has just got from another, and ports are not read in the order in which they were written.
   */
  readonly arrivals = new Set<() => void>();
  #numRunning = 0;
  readonly #stored = new Map<string, { readonly response: StoredResponse; readonly size: number }>();
  #size = 0;

  /** The conversation of an earlier response. Throws `not_found`, and `invalid_value` where there is no answer. */
  messagesOf(id: string): readonly ChatMessage[] {
    const { messages } = this.get(id);
    if (messages !== null) return messages;
    throw new LockstepError('invalid_value', `Response with id '${id}' has no answer.`, { param: 'previous_response_id' });
  }

  /** Throws `queue_full` where no more are made in the background. `abortMaker`: as `BackgroundResponse` has it. */
  begin(abortMaker: () => void): BackgroundResponse {
    if (this.#numRunning >= backgroundMax) {
      const message = `${backgroundMax} responses are being made in the background. Try again later.`;
      throw new LockstepError('queue_full', message, { retryAfterSeconds: 1 });
    }
    this.#numRunning++;
    return new BackgroundResponse(abortMaker, () => this.#numRunning--);
  }

  /** Takes the place of one with the same id. Ignored where what makes it was aborted. */
  add(response: StoredResponse): void {
    const { json, input, messages, background } = response;
    if (background?.isOver) return;
    const size = json.length + JSON.stringify([input, messages]).length + (background?.numChars ?? 0);
    this.discard(response.id);
    if (size > storedCharsMax) return;
    this.#stored.set(response.id, { response, size });
    this.#size += size;
    for (const id of this.#stored.keys()) {
      if (this.#stored.size <= storedResponsesMax && this.#size <= storedCharsMax) break;
      this.discard(id);
    }
  }

  /** Throws `not_found`. */
  get(id: string): StoredResponse {
    if (!this.#stored.has(id)) for (const takeIn of this.arrivals) takeIn();
    const found = this.#stored.get(id);
    if (found === undefined) throw new LockstepError('not_found', `Response with id '${id}' not found.`);
    this.#stored.delete(id);
    this.#stored.set(id, found);
    return found.response;
  }

  /** Does nothing where there is none. */
  discard(id: string): void {
    this.#size -= this.#stored.get(id)?.size ?? 0;
    this.#stored.delete(id);
  }
}
