/**
 * How many sequences may wait, and how many of one owner. Owners are bounded by dynamic thresholds (Choudhury, Hahne 1998, "Dynamic queue length
 * thresholds for shared-memory packet switches"): each may have as many waiting as there are places left, times its weight. So one that floods
 * the queue takes half of it, two take a third each, and places are always left for those who come later.
 */
import { LockstepError } from '../errors.js';
import type { Share } from '../scheduler/fair-share.js';

const retryAfterSeconds = 1;

export class QueueBound {
  readonly #lenMax: number;
  /** Of each owner, the sequences of which nothing was heard yet: they wait, or their prompts are being read. */
  readonly #silent = new Map<number, number>();
  #numSilent = 0;

  constructor(lenMax: number) {
    this.#lenMax = lenMax;
  }

  /** Throws `queue_full` where `n` more sequences may not wait beside the `waiting` of all. Without `share` nobody else is in want of places. */
  enter(share: Share | undefined, n: number, waiting: number): void {
    // Where nobody waits there is room for one request, however many choices it has.
    if (waiting > 0 && waiting + n > this.#lenMax) {
      throw new LockstepError('queue_full', `The queue is full: ${waiting} sequences wait. Try again later.`, { retryAfterSeconds });
    }
    if (share === undefined) return;
    const silent = this.#silent.get(share.owner) ?? 0;
    // Who waits and whose prompt is being read is known of all together: an owner has its part of both.
    const own = silent === 0 ? 0 : (waiting * silent) / this.#numSilent;
    if (waiting > 0 && silent > 0 && own + n > share.weight * (this.#lenMax - waiting)) {
      const message = `The queue is full for this API key: ${Math.round(own)} of its sequences wait. Try again later.`;
      throw new LockstepError('queue_full', message, { retryAfterSeconds });
    }
    this.#count(share, n);
  }

  /** Sequences that entered have been heard of, or are no more. */
  leave(share: Share | undefined, n: number): void {
    if (share !== undefined) this.#count(share, -n);
  }

  #count({ owner }: Share, n: number): void {
    const silent = (this.#silent.get(owner) ?? 0) + n;
    if (silent === 0) this.#silent.delete(owner);
    else this.#silent.set(owner, silent);
    this.#numSilent += n;
  }
}
