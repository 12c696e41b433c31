/**
 * How many drafts each decoding sequence may try in a step. The ranks find the drafts (`native/common/lookup.h`) and say of every step how
 * many of their guesses were right, also of steps that verify none: so what a sequence's guesses are worth is known before one of them is
 * paid for. A draft is tried while the tokens that it should bring are worth the time that its row should take.
 */
import type { StepPlan, StepResult } from '../step/buffers.js';
import { numSlots } from '../step/layout.js';
import type { SequenceQueue } from './queue.js';
import type { Sequence } from './sequence.js';
import { maxTimedRows, StepTimes } from './step-times.js';

export interface SpeculationOptions {
  /** Most drafts of a sequence in a step; `StepDims.maxDrafts`. */
  readonly maxDrafts: number;
  /** Tokens that must agree with the sequence's newest ones, and that at most are compared. */
  readonly lookupMin: number;
  readonly lookupMax: number;
  /** false: as many drafts as there is room for in every step, whatever they cost. */
  readonly isAdaptive: boolean;
}

export interface SpeculationCounters {
  /** Steps of sequences that tried drafts. */
  readonly drafts: number;
  readonly draftTokens: number;
  readonly acceptedTokens: number;
  readonly acceptedPerPosition: Float64Array; // [maxDrafts]
}

/** Expected gain below which it is not tried: the estimates are no better. */
const leastGain = 1.03;
/** Plain steps are seen at least so often, so that what drafts are compared with is fresh. */
const plainEvery = 64;
/** Time lost by drafts so far, in steps: at most this share of all, beside what they have gained (up to a bound) and a first stake. */
const lossShare = 0.005;
const firstStake = 3;
const mostStake = 12;

export class Speculation {
  private readonly times = new StepTimes();
  /** Sequences that decode in the step that is planned, with the chance that the draft looked at is reached and right. */
  private readonly decoding: Sequence[] = [];
  private readonly chance = new Float64Array(maxTimedRows);
  private numDecoding = 0;
  private readonly contexts = new Float64Array(numSlots);
  /** What drafts may still lose, in steps without any. */
  private stake = firstStake;
  private drafts = 0;
  private draftTokens = 0;
  private acceptedTokens = 0;
  private readonly acceptedPerPosition: Float64Array;

  constructor(readonly options: SpeculationOptions) {
    this.acceptedPerPosition = new Float64Array(options.maxDrafts);
  }

  counters(): SpeculationCounters {
    const { drafts, draftTokens, acceptedTokens, acceptedPerPosition } = this;
    return { drafts, draftTokens, acceptedTokens, acceptedPerPosition };
  }

  /** Sets `numDrafts` of the running for step `epoch`, which is planned next. */
  plan(running: SequenceQueue, epoch: number): void {
    const context = this.gather(running);
    this.contexts[epoch & 1] = context;
    const rows = this.numDecoding;
    if (!this.options.isAdaptive) return; // `gather` has given all of them
    if (rows === 0 || rows >= maxTimedRows || this.stake < 0) return;
    if (this.times.age(rows, context) > plainEvery || !this.times.prepare(context)) return;
    this.choose(rows);
  }

  /** Adds drafts position by position while they pay, and keeps as many positions as gave the most tokens a second. */
  private choose(rows: number): void {
    const { times, decoding, chance } = this;
    const plainRate = rows / times.estimate(rows);
    let tokens = rows;
    let slots = rows;
    let bestDepth = 0;
    let bestRate = plainRate * leastGain;
    for (let depth = 1; depth <= this.options.maxDrafts; depth++) {
      const before = slots;
      for (let i = 0; i < rows && slots < maxTimedRows; i++) {
        const seq = decoding[i]!;
        if (seq.numDrafts < depth - 1 || seq.room() <= depth) continue;
        const p = chance[i]! * (depth === 1 ? seq.acceptance.first : seq.acceptance.next);
        // Over four rows, as kernels take rows by tiles and time grows by jumps.
        const ahead = Math.min(4, maxTimedRows - slots);
        const rowUs = (times.estimate(slots + ahead) - times.estimate(slots)) / ahead;
        if (p * times.estimate(slots) <= tokens * rowUs) continue;
        chance[i] = p;
        seq.numDrafts = depth;
        tokens += p;
        slots++;
      }
      if (slots === before) break;
      const rate = tokens / times.estimate(slots);
      if (rate <= bestRate) continue;
      bestDepth = depth;
      bestRate = rate;
    }
    for (let i = 0; i < rows; i++) decoding[i]!.numDrafts = Math.min(decoding[i]!.numDrafts, bestDepth);
  }

  /** Lists who decodes; returns the context that they read. */
  private gather(running: SequenceQueue): number {
    const { isAdaptive, maxDrafts } = this.options;
    this.numDecoding = 0;
    let context = 0;
    for (let i = 0; i < running.length; i++) {
      const seq = running.at(i);
      seq.numDrafts = 0;
      if (!seq.isDecoding() || seq.wanted() === 0 || seq.followsGrammar) continue;
      if (!isAdaptive) seq.numDrafts = Math.max(0, Math.min(maxDrafts, seq.room() - 1));
      context += seq.numTokens;
      if (this.numDecoding < maxTimedRows) {
        this.decoding[this.numDecoding] = seq;
        this.chance[this.numDecoding] = 1;
      }
      this.numDecoding++;
    }
    return context;
  }

  /** What entry i says of its sequence's guesses. */
  learn(seq: Sequence, result: StepResult, i: number): void {
    const right = result.numRight[i]!;
    const drafts = result.numDrafts[i]!;
    seq.acceptance.learn(result.numGuessed[i]!, right);
    if (drafts === 0) return;
    const accepted = Math.min(right, drafts);
    this.drafts++;
    this.draftTokens += drafts;
    this.acceptedTokens += accepted;
    for (let j = 0; j < accepted; j++) this.acceptedPerPosition[j]!++;
  }

  /** Times a step that has come back, if it only decoded, and books what its drafts gained or lost. */
  book(plan: StepPlan, result: StepResult): void {
    const numEntries = plan.planHeader[1]!;
    let accepted = 0;
    let drafts = 0;
    for (let i = 0; i < numEntries; i++) {
      if (plan.startPosition[i] !== -1) return;
      drafts += result.numDrafts[i]!;
      accepted += Math.min(result.numRight[i]!, result.numDrafts[i]!);
    }
    const context = this.contexts[plan.planHeader[0]! & 1]!;
    const slots = result.resultHeader[2]!;
    const rows = slots - drafts;
    const us = result.timesUs[0]!;
    this.times.observe(slots, context, us);
    if (rows < 1 || rows > maxTimedRows || !this.times.prepare(context)) return;
    const plainUs = this.times.estimate(rows);
    const gained = drafts === 0 ? 0 : accepted / rows - (us - plainUs) / plainUs;
    this.stake = Math.min(mostStake, this.stake + gained + lossShare);
  }
}
