/**
 * How many sequences may wait, and how many of one owner. Owners are bounded by dynamic thresholds (Choudhury, Hahne 1998, "Dynamic queue length
 * thresholds for shared-memory packet switches"): each may have as many waiting as there are places left, times its weight. So one that floods
 * the queue takes half of it, two take a third each, and places are always left for those who come later.
 *
 * The counts are of all threads that ask, in memory that all of them see. A request is counted before it is judged, so that threads which judge
 * at the same time do not let in more than there are places for.
 */
import { LockstepError } from '../errors.js';
import type { Share } from '../scheduler/fair-share.js';

const retryAfterSeconds = 1;

/** Sequences that are open: they wait, or run. */
const openCount = 0;
/** Sequences, of owners, of which nothing was heard yet: they wait, or their prompts are being read. Behind it, those of each owner. */
const silentCount = 1;
const firstOwner = 2;

/** Memory for the counts of owners 0 to `numOwners` - 1. */
export const queueMemory = (numOwners: number) => new SharedArrayBuffer(4 * (firstOwner + Math.max(1, numOwners)));

export class QueueBound {
  readonly #lenMax: number;
  readonly #counts: Int32Array;

  constructor(lenMax: number, memory: SharedArrayBuffer) {
    this.#lenMax = lenMax;
    this.#counts = new Int32Array(memory);
  }

  /**
   * Throws `queue_full` where `n` more sequences may not wait, `running` of those that are open being past that. Without `share` nobody else is
   * in want of places.
   */
  enter(share: Share | undefined, n: number, running: number): void {
    const waiting = Math.max(0, Atomics.add(this.#counts, openCount, n) - running);
    const refusal = this.#refusal(share, n, waiting);
    if (refusal !== null) {
      this.end(n);
      throw new LockstepError('queue_full', `${refusal} Try again later.`, { retryAfterSeconds });
    }
    if (share !== undefined) this.#count(share, n);
  }

  #refusal(share: Share | undefined, n: number, waiting: number): string | null {
    // Where nobody waits there is room for one request, however many choices it has.
    if (waiting === 0) return null;
    if (waiting + n > this.#lenMax) return `The queue is full: ${waiting} sequences wait.`;
    if (share === undefined) return null;
    const silent = Atomics.load(this.#counts, firstOwner + share.owner);
    // Who waits and whose prompt is being read is known of all together: an owner has its part of both.
    const own = silent === 0 ? 0 : (waiting * silent) / Math.max(silent, Atomics.load(this.#counts, silentCount));
    if (silent === 0 || own + n <= share.weight * (this.#lenMax - waiting)) return null;
    return `The queue is full for this API key: ${Math.round(own)} of its sequences wait.`;
  }

  /** Sequences that entered have been heard of, or are no more. */
  leave(share: Share | undefined, n: number): void {
    if (share !== undefined) this.#count(share, -n);
  }

  /** Sequences that entered are no more. */
  end(n: number): void {
    Atomics.sub(this.#counts, openCount, n);
  }

  #count({ owner }: Share, n: number): void {
    Atomics.add(this.#counts, firstOwner + owner, n);
    Atomics.add(this.#counts, silentCount, n);
  }
}
