/** Fills the two plans in turn, and remembers which sequence each entry was. */
import type { StepBuffers, StepPlan } from '../step/buffers.js';
import { entryFlag, numSlots } from '../step/layout.js';
import type { Sequence } from './sequence.js';

export class PlanWriter {
  private readonly plans: readonly StepPlan[];
  private readonly sequences: readonly (Sequence | null)[][]; // [numSlots][maxRows]
  private slot = 0;
  private epoch = 0;
  numEntries = 0;
  private numTokens = 0;
  private numOutputs = 0;

  /** `lookup`: how the ranks look drafts up. */
  constructor(
    buffers: StepBuffers,
    private readonly lookup: { readonly lookupMin: number; readonly lookupMax: number } | null,
  ) {
    this.plans = buffers.plans;
    this.sequences = Array.from({ length: numSlots }, () => new Array<Sequence | null>(buffers.layout.dims.maxRows).fill(null));
  }

  begin(epoch: number): void {
    this.epoch = epoch;
    this.slot = epoch & 1;
    this.numEntries = 0;
    this.numTokens = 0;
    this.numOutputs = 0;
  }

  /** `count` tokens of `seq` from `start` on; `start` -1: its newest token and at most count - 1 drafts. */
  append(seq: Sequence, start: number, count: number, contextMax: number, flags: number): void {
    const plan = this.plans[this.slot]!;
    const i = this.numEntries++;
    this.sequences[this.slot]![i] = seq;
    plan.rows[i] = seq.row;
    plan.queryStart[i] = this.numTokens;
    plan.startPosition[i] = start;
    plan.contextMax[i] = contextMax;
    plan.entryFlags[i] = flags;
    plan.outputStart[i] = this.numOutputs;
    this.numTokens += count;
    if (flags & entryFlag.promptLogprobs || start < 0) this.numOutputs += count;
    else if (flags & entryFlag.sample) this.numOutputs++;
  }

  finish(): StepPlan {
    const plan = this.plans[this.slot]!;
    plan.queryStart[this.numEntries] = this.numTokens;
    plan.outputStart[this.numEntries] = this.numOutputs;
    plan.planHeader[0] = this.epoch | 0; // wraps after 2^31 steps, as the ranks' comparison for equality does
    plan.planHeader[1] = this.numEntries;
    plan.planHeader[2] = this.numTokens;
    plan.planHeader[3] = this.numOutputs;
    plan.planHeader[4] = this.lookup?.lookupMin ?? 0;
    plan.planHeader[5] = this.lookup?.lookupMax ?? 0;
    return plan;
  }

  plan(epoch: number): StepPlan {
    return this.plans[epoch & 1]!;
  }

  /** The sequence of entry i of a step that has come back. It is forgotten here, so that it can be collected when it has ended. */
  take(epoch: number, i: number): Sequence {
    const sequences = this.sequences[epoch & 1]!;
    const seq = sequences[i]!;
    sequences[i] = null;
    return seq;
  }
}
