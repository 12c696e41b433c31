/**
 * Turns of sequences, so that those who share the engine take turns and nobody's flood makes another wait for all of it. Start-time fair queuing
 * (Goyal, Vin, Cheng 1996): an owner's sequences are 1/weight apart, and none stands before the newest that was admitted. A turn is given once, so
 * that the order of the queue stays an order; with one owner it is the order of arrival.
 */
export interface Share {
  /** Whose sequence it is. */
  readonly owner: number;
  /** Twice as many turns with 2 as with 1. */
  readonly weight: number;
}

export const soleOwner: Share = { owner: 0, weight: 1 };

export class FairShare {
  /** The turn of the newest sequence that was admitted. */
  #now = 0;
  /** Where each owner's next sequence stands; as many entries as there are owners. */
  readonly #next = new Map<number, number>();

  turnOf({ owner, weight }: Share): number {
    const turn = Math.max(this.#now, this.#next.get(owner) ?? 0);
    this.#next.set(owner, turn + 1 / weight);
    return turn;
  }

  admitted(turn: number): void {
    this.#now = Math.max(this.#now, turn);
  }
}
