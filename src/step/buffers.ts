/** Typed-array views over the shared step buffer: the rows, the two plans and the two results. */
import { layOut, numSlots, type Placement, type StepDims, type StepLayout } from './layout.js';

/** What belongs to a row, a column a parameter; see `rowColumns` for shapes and meanings. */
export interface RowColumns {
  readonly tokens: Int32Array;
  readonly blockTables: Int32Array;
  readonly temperature: Float32Array;
  readonly topP: Float32Array;
  readonly topK: Int32Array;
  readonly minP: Float32Array;
  readonly presencePenalty: Float32Array;
  readonly frequencyPenalty: Float32Array;
  readonly repetitionPenalty: Float32Array;
  readonly seedLow: Int32Array;
  readonly seedHigh: Int32Array;
  readonly choice: Int32Array;
  readonly promptLen: Int32Array;
  readonly minTokens: Int32Array;
  readonly numLogprobs: Int32Array;
  readonly numPromptLogprobs: Int32Array;
  readonly numLogprobIds: Int32Array;
  readonly logprobIds: Int32Array;
  readonly numBias: Int32Array;
  readonly biasIds: Int32Array;
  readonly biasValues: Float32Array;
  readonly numStopIds: Int32Array;
  readonly stopIds: Int32Array;
  readonly secondSegment: Int32Array;
  readonly pooled: Float32Array;
  readonly grammar: Int32Array;
  readonly numAllowed: Int32Array;
  readonly allowedIds: Int32Array;
  readonly badWordsLen: Int32Array;
  readonly badWords: Int32Array;
  readonly thinkingBudget: Int32Array;
  readonly thinkingBeginLen: Int32Array;
  readonly thinkingBegin: Int32Array;
  readonly thinkingEndLen: Int32Array;
  readonly thinkingEnd: Int32Array;
  readonly thinkingEndIdsLen: Int32Array;
  readonly thinkingEndIds: Int32Array;
}

/** One engine step's plan. It belongs to the scheduler until `dispatch` and to the ranks until `collect`. */
export interface StepPlan {
  /** [epoch, numEntries, numTokens, numOutputs, lookupMin, lookupMax] */
  readonly planHeader: Int32Array;
  readonly rows: Int32Array;
  readonly queryStart: Int32Array;
  readonly startPosition: Int32Array;
  readonly contextMax: Int32Array;
  readonly entryFlags: Int32Array;
  readonly outputStart: Int32Array;
}

export interface StepResult {
  /** [epoch, fault, slots that were computed] */
  readonly resultHeader: Int32Array;
  readonly numSampled: Int32Array;
  readonly sampledIds: Int32Array;
  readonly outcome: Int32Array;
  readonly numDrafts: Int32Array;
  readonly numGuessed: Int32Array;
  readonly numRight: Int32Array;
  readonly outputIds: Int32Array;
  readonly outputLogprobs: Float32Array;
  readonly outputRanks: Int32Array;
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  readonly timesUs: Float64Array;
}

export interface StepBuffers {
  readonly layout: StepLayout;
  readonly shared: SharedArrayBuffer;
  readonly control: Int32Array;
  readonly rows: RowColumns;
  readonly plans: readonly StepPlan[]; // [numSlots]
  readonly results: readonly StepResult[]; // [numSlots]
}

/** Views over `shared`, or over a fresh buffer. Every thread makes its own views of the one buffer. */
export function stepBuffers(dims: StepDims, shared?: SharedArrayBuffer): StepBuffers {
  const layout = layOut(dims);
  const buffer = shared ?? new SharedArrayBuffer(layout.byteLength);
  const view = (p: Placement) => {
    if (p.type === 'i32') return new Int32Array(buffer, p.byteOffset, p.count);
    return p.type === 'f32' ? new Float32Array(buffer, p.byteOffset, p.count) : new Float64Array(buffer, p.byteOffset, p.count);
  };
  const byName = new Map<string, (Int32Array | Float32Array | Float64Array)[]>();
  for (const p of layout.placements) byName.set(p.name, [...(byName.get(p.name) ?? []), view(p)]);
  // Columns are named once in layout.ts; these objects hold the views under those names.
  const slot = (index: number) => Object.fromEntries([...byName].map(([name, views]) => [name, views[Math.min(index, views.length - 1)]]));
  const slots = Array.from({ length: numSlots }, (_, i) => slot(i));
  return {
    layout,
    shared: buffer,
    control: byName.get('control')?.[0] as Int32Array,
    rows: slots[0] as unknown as RowColumns,
    plans: slots as unknown as StepPlan[],
    results: slots as unknown as StepResult[],
  };
}
