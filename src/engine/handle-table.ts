/**
 * What is live, by its handle. Handles count up, so that those of streams that run beside each other lie beside each other in one list: with
 * thousands of streams a `Map` reads two more cache lines from memory for every token.
 */
import { countMax, handleOf } from './messages.js';

/** Twice as many places as entries, so that a free one is near; a power of two. */
const placesMin = 64;

export class HandleTable<T extends { readonly handle: number }> {
  readonly #port: number;
  #places: (T | undefined)[] = new Array<undefined>(placesMin).fill(undefined);
  #count = 0;
  #size = 0;

  constructor(port: number) {
    this.#port = port;
  }

  /** For the next entry: nobody has it, nor had it lately, since counts start anew after 2^25. Their low bits are the entry's place. */
  nextHandle(): number {
    if (2 * (this.#size + 1) > this.#places.length) this.#grow();
    do this.#count = (this.#count + 1) & countMax;
    while (this.#places[this.#placeOf(this.#count)] !== undefined);
    return handleOf(this.#port, this.#count);
  }

  /** An entry with the newest handle. */
  add(entry: T): void {
    this.#places[this.#placeOf(entry.handle)] = entry;
    this.#size++;
  }

  get(handle: number): T | undefined {
    const entry = this.#places[this.#placeOf(handle)];
    return entry?.handle === handle ? entry : undefined;
  }

  delete(handle: number): void {
    if (this.get(handle) === undefined) return;
    this.#places[this.#placeOf(handle)] = undefined;
    this.#size--;
  }

  values(): T[] {
    return this.#places.filter((entry) => entry !== undefined);
  }

  #placeOf(handle: number): number {
    return handle & (this.#places.length - 1);
  }

  #grow(): void {
    const entries = this.values();
    this.#places = new Array<undefined>(2 * this.#places.length).fill(undefined);
    for (const entry of entries) this.#places[this.#placeOf(entry.handle)] = entry;
  }
}
