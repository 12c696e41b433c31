/**
 * How long a decode step takes by its rows and by the context that it reads, learnt from the steps that run anyway. No clock is read here:
 * the ranks measure, and `speculation.ts` asks what one more row would cost.
 */

/** Above so many rows no step is looked at: a CPU is then bound by arithmetic, and a draft costs what it may bring. */
export const maxTimedRows = 64;
/** Of the sum of the entries' contexts, a column for each doubling from here on. */
const firstContext = 512;
const numColumns = 16;
const columnLen = maxTimedRows + 1;
/** A time counts for 1/16 of a cell, so that a clock that changes is followed; of a new cell the mean is taken. */
const smoothing = 1 / 16;
/** One disturbed step does not move a cell by more than this share. */
const outlier = 1.5;
/** A cell that no step renewed for so many steps is forgotten: the machine may have another load now. */
const staleSteps = 2000;
/** What is not known is taken to grow with n as n + 2.3 does: one draft at batch 1 costs 0.3 of a step, one beside 16 rows 0.05. */
const fixedRows = 2.3;

export class StepTimes {
  private readonly meanUs = new Float64Array(numColumns * columnLen);
  private readonly count = new Float64Array(numColumns * columnLen);
  private readonly seenAt = new Float64Array(numColumns * columnLen);
  private now = 0;
  /** [columnLen] estimates of the column that `prepare` was asked for, microseconds; never falling with rows. */
  private readonly curve = new Float64Array(columnLen);

  observe(rows: number, context: number, us: number): void {
    this.now++;
    if (rows < 1 || rows > maxTimedRows || !(us > 0)) return;
    const cell = columnOf(context) * columnLen + rows;
    if (this.now - this.seenAt[cell]! > staleSteps) this.count[cell] = 0;
    const count = ++this.count[cell]!;
    const mean = this.meanUs[cell]!;
    const bounded = count > 4 ? Math.min(us, outlier * mean) : us;
    this.meanUs[cell] = count === 1 ? us : mean + (bounded - mean) * Math.max(1 / count, smoothing);
    this.seenAt[cell] = this.now;
  }

  /** Makes the curve for steps that read so much context. false: none of them was seen yet. */
  prepare(context: number): boolean {
    const base = columnOf(context) * columnLen;
    const { curve } = this;
    let known = 0; // rows of the newest cell on the way up
    for (let n = 1; n < columnLen; n++) {
      if (!this.isKnown(base + n)) continue;
      const us = Math.max(this.meanUs[base + n]!, known > 0 ? curve[known]! : 0);
      curve[n] = us;
      for (let m = known + 1; m < n; m++) {
        const share = (m - known) / (n - known);
        curve[m] = known > 0 ? curve[known]! + (us - curve[known]!) * share : (us * (m + fixedRows)) / (n + fixedRows);
      }
      known = n;
    }
    if (known === 0) return false;
    for (let n = known + 1; n < columnLen; n++) curve[n] = (curve[known]! * (n + fixedRows)) / (known + fixedRows);
    return true;
  }

  /** Microseconds of a step of 1 … maxTimedRows rows, as `prepare` left it. */
  estimate(rows: number): number {
    return this.curve[rows]!;
  }

  /** Steps since one of so many rows was seen. */
  age(rows: number, context: number): number {
    const cell = columnOf(context) * columnLen + rows;
    return this.isKnown(cell) ? this.now - this.seenAt[cell]! : Number.POSITIVE_INFINITY;
  }

  private isKnown(cell: number): boolean {
    return this.count[cell]! > 0 && this.now - this.seenAt[cell]! <= staleSteps;
  }
}

function columnOf(context: number): number {
  return Math.min(numColumns - 1, Math.max(0, Math.ceil(Math.log2(Math.max(1, context) / firstContext))));
}
