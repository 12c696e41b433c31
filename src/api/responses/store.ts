/** Responses kept in memory, for `previous_response_id` and retrieval, within a bound: those not asked for longest go first. */
import type { ChatMessage } from '../../chat/template.js';
import { LockstepError } from '../../errors.js';
import type { Item } from './translate.js';

export const storedResponsesMax = 4096;
/** Characters of all that is kept; a response that is longer by itself is not kept. */
export const storedCharsMax = 64 * 2 ** 20;

export interface StoredResponse {
  readonly id: string;
  /** The response as it was answered, as JSON. */
  readonly json: string;
  /** As it was given. */
  readonly input: readonly Item[];
  /** The conversation up to and with the answer, without instructions. */
  readonly messages: readonly ChatMessage[];
}

export class ResponseStore {
  readonly #stored = new Map<string, { readonly response: StoredResponse; readonly size: number }>();
  #size = 0;

  add(response: StoredResponse): void {
    const size = response.json.length + JSON.stringify([response.input, response.messages]).length;
    if (this.#stored.has(response.id)) this.remove(response.id);
    if (size > storedCharsMax) return;
    this.#stored.set(response.id, { response, size });
    this.#size += size;
    for (const id of this.#stored.keys()) {
      if (this.#stored.size <= storedResponsesMax && this.#size <= storedCharsMax) break;
      this.remove(id);
    }
  }

  /** Throws `not_found`. */
  get(id: string): StoredResponse {
    const found = this.#stored.get(id);
    if (found === undefined) throw new LockstepError('not_found', `Response with id '${id}' not found.`);
    this.#stored.delete(id);
    this.#stored.set(id, found);
    return found.response;
  }

  /** Throws `not_found`. */
  remove(id: string): void {
    const { id: known } = this.get(id);
    this.#size -= this.#stored.get(known)!.size;
    this.#stored.delete(known);
  }
}
