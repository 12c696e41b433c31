/** What a step brought, in columns made at start: the engine reads them before the next `update`. */
import type { StepResult } from '../step/buffers.js';
import type { StepDims } from '../step/layout.js';

/** Values of `SchedulerOutput.finish`. */
export const finishCode = { none: 0, stop: 1, length: 2, abort: 3, stuck: 4 } as const;

/** E entries, one for each sequence to which something happened; dropped results (ended, aborted) are not among them. */
export interface SchedulerOutput {
  readonly numEntries: number;
  readonly keys: Float64Array; // [E] SequenceInput.key
  readonly rows: Int32Array; // [E] in the step; what a finished one's row holds stays until the next step is planned
  readonly numIds: Int32Array; // [E] new ids
  readonly ids: Int32Array; // [E, maxIds] at i * maxIds
  readonly maxIds: number;
  /** [E] where the first new id's log-probabilities stand in the result: id j's at outputStart + j. */
  readonly outputStart: Int32Array;
  readonly finish: Int32Array; // [E] finishCode; the sequence is forgotten, its key may be used again
  readonly stopId: Int32Array; // [E] the stop token id that ended it; -1: none, or an end-of-sequence id
  /** [E] prompt tokens that came from the prefix cache when the sequence was first admitted. */
  readonly cachedTokens: Int32Array;
  /** [E] the step (as in the plan's header) in which the sequence was first admitted. */
  readonly firstStep: Int32Array;
  /** [E] how often it was preempted. */
  readonly numPreemptions: Int32Array;
  /** [E] prompt tokens whose log-probabilities have come: positions promptPosition …, in the result from promptOutputStart on. */
  readonly numPrompt: Int32Array;
  readonly promptPosition: Int32Array;
  readonly promptOutputStart: Int32Array;
  /** The columns that outputStart and promptOutputStart index; the ranks write them anew in the step after next. */
  readonly result: StepResult;
}

export type MutableOutput = { -readonly [K in keyof SchedulerOutput]: SchedulerOutput[K] };

export function makeOutput(dims: StepDims, result: StepResult): MutableOutput {
  const column = () => new Int32Array(dims.maxRows);
  const maxIds = dims.maxDrafts + 1;
  return {
    numEntries: 0,
    keys: new Float64Array(dims.maxRows),
    rows: column(),
    numIds: column(),
    ids: new Int32Array(dims.maxRows * maxIds),
    maxIds,
    outputStart: column(),
    finish: column(),
    stopId: column(),
    cachedTokens: column(),
    firstStep: column(),
    numPreemptions: column(),
    numPrompt: column(),
    promptPosition: column(),
    promptOutputStart: column(),
    result,
  };
}
