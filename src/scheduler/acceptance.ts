/** What a sequence's guesses were worth so far, and are taken to be worth next. */

/** What is thought of a sequence's guesses before any is known, and how many guesses that weighs. */
const firstPrior = { right: 0.4, weight: 2 };
const nextPrior = { right: 3.2, weight: 4 };
/** As many of the newest guesses count: a text stops repeating itself within a sentence. */
const firstMemory = 12;
const nextMemory = 32;

/** The share of a sequence's guesses that were right: of the first of a step, and of those behind a right one. */
export class Acceptance {
  private firstRight = firstPrior.right;
  private firstAll = firstPrior.weight;
  private nextRight = nextPrior.right;
  private nextAll = nextPrior.weight;

  learn(guessed: number, right: number): void {
    if (guessed === 0) return;
    const keepFirst = Math.min(1, firstMemory / (this.firstAll + 1));
    this.firstAll = this.firstAll * keepFirst + 1;
    this.firstRight = this.firstRight * keepFirst + (right > 0 ? 1 : 0);
    // Behind the first: each right one, and the wrong one that ended them.
    const next = right === 0 ? 0 : right < guessed ? right : right - 1;
    if (next === 0) return;
    const keepNext = Math.min(1, nextMemory / (this.nextAll + next));
    this.nextAll = this.nextAll * keepNext + next;
    this.nextRight = this.nextRight * keepNext + (right - 1);
  }

  get first(): number {
    return this.firstRight / this.firstAll;
  }
  get next(): number {
    return this.nextRight / this.nextAll;
  }
}
