/** Sequences in their order (`comesBefore`): the waiting and the running are one list each. */
import { comesBefore, type Sequence } from './sequence.js';

/**
 * A sorted array: insertion and removal find their place by bisection and move pointers, once a request; a step only indexes.
 * A heap would be quicker to insert into, but the second and third in line could not be looked at.
 */
export class SequenceQueue {
  private readonly items: Sequence[] = [];

  get length(): number {
    return this.items.length;
  }

  at(index: number): Sequence {
    return this.items[index]!;
  }

  insert(seq: Sequence): void {
    // Most come last.
    const last = this.items[this.items.length - 1];
    if (last === undefined || comesBefore(last, seq)) this.items.push(seq);
    else this.items.splice(this.place(seq), 0, seq);
  }

  /** `seq` must be in the queue. */
  remove(seq: Sequence): void {
    const index = this.place(seq);
    if (this.items[index] !== seq) throw new Error(`sequence ${seq.key} is not in the queue`);
    this.items.splice(index, 1);
  }

  /** Index of the first that does not come before `seq`. */
  private place(seq: Sequence): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (comesBefore(this.items[middle]!, seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
