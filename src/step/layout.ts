/**
 * Where everything lies in the one SharedArrayBuffer that scheduler, ranks and native code share.
 * `native/common/step_layout.h` names the same columns in the same order; `test/tidy.test.ts` compares the two.
 * The native side is given the byte offsets computed here, so only names and order are mirrored, not arithmetic.
 */

/** Bounds of a server's steps, fixed at start. */
export interface StepDims {
  /** Sequences that can be admitted at once; a sequence keeps its row from admission to its end. */
  readonly maxRows: number;
  /** Token slots of one step (`--max-num-batched-tokens`). */
  readonly maxTokens: number;
  /** Longest sequence, prompt and output (`--max-model-len`). */
  readonly maxSeqLen: number;
  /** Tokens of one KV block. */
  readonly blockSize: number;
  /** KV blocks in all. Block ids are 0 … numBlocks-1. */
  readonly numBlocks: number;
  /** Most ids that a row may guess in a step, beside the one that is sampled: drafts, or what its grammar forces. */
  readonly maxDrafts: number;
  /** Most log-probabilities that can be asked for beside the chosen token's own (`--max-logprobs`). */
  readonly maxLogprobs: number;
  readonly worldSize: number;
  /** Floats of a row's pooled hidden states: the model's width where they are asked for, else 0. */
  readonly pooledLen: number;
}

/** Bounds of what one row's sampling parameters may hold; a request above them is refused by name. */
export const maxBiasLen = 1024;
export const maxStopIds = 128;
export const maxAllowedIds = 4096;
/** Words of a row's forbidden sequences: each its length and its ids. */
export const badWordsLenMax = 2048;
/** Bytes, or ids, of what stands before or behind reasoning. */
export const markerLenMax = 64;
/** Ids whose log-probabilities a request may name. */
export const maxLogprobIds = 128;

/** Two plans and two results, used in turn: step n+1 is planned while step n runs. Epoch e uses slot e & 1. */
export const numSlots = 2;

export type ColumnType = 'i32' | 'f32' | 'f64';
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly count: (dims: StepDims) => number;
}

const maxBlocksPerRow = (d: StepDims) => Math.ceil(d.maxSeqLen / d.blockSize);
const column = (name: string, type: ColumnType, count: (d: StepDims) => number): Column => ({ name, type, count });

/** Words that are waited on, each on a cache line of its own (16 words apart). */
export const controlColumns = [column('control', 'i32', (d) => 16 * (4 + d.worldSize))] as const;

/** Written by the scheduler when a row is given away or its value changes; never while a dispatched step reads it. */
export const rowColumns = [
  column('tokens', 'i32', (d) => d.maxRows * d.maxSeqLen), // [rows, maxSeqLen] prompt, then sampled ids: ranks append these
  column('blockTables', 'i32', (d) => d.maxRows * maxBlocksPerRow(d)), // [rows, maxBlocksPerRow] only grows during a tenancy
  column('temperature', 'f32', (d) => d.maxRows),
  column('topP', 'f32', (d) => d.maxRows),
  column('topK', 'i32', (d) => d.maxRows), // 0: off
  column('minP', 'f32', (d) => d.maxRows),
  column('presencePenalty', 'f32', (d) => d.maxRows),
  column('frequencyPenalty', 'f32', (d) => d.maxRows),
  column('repetitionPenalty', 'f32', (d) => d.maxRows),
  column('seedLow', 'i32', (d) => d.maxRows),
  column('seedHigh', 'i32', (d) => d.maxRows),
  column('choice', 'i32', (d) => d.maxRows),
  column('promptLen', 'i32', (d) => d.maxRows), // of the request: tokens from here on count as output
  column('minTokens', 'i32', (d) => d.maxRows), // stop ids are masked until so many output tokens are there
  column('numLogprobs', 'i32', (d) => d.maxRows), // -1: none; 0: the sampled token's own; k: and the k best
  column('numPromptLogprobs', 'i32', (d) => d.maxRows), // the same for prompt tokens
  column('numLogprobIds', 'i32', (d) => d.maxRows), // more than 0: these ids in place of the k best
  column('logprobIds', 'i32', (d) => d.maxRows * maxLogprobIds),
  column('numBias', 'i32', (d) => d.maxRows),
  column('biasIds', 'i32', (d) => d.maxRows * maxBiasLen),
  column('biasValues', 'f32', (d) => d.maxRows * maxBiasLen),
  column('numStopIds', 'i32', (d) => d.maxRows), // what minTokens masks: end-of-sequence and stop ids
  column('stopIds', 'i32', (d) => d.maxRows * maxStopIds),
  column('secondSegment', 'i32', (d) => d.maxRows), // position of the first token of type 1, for models with token types
  column('pooled', 'f32', (d) => d.maxRows * d.pooledLen), // [rows, pooledLen] written by the ranks: see entryFlag.poolFirst
  column('grammar', 'i32', (d) => d.maxRows), // number of the grammar that the output follows; 0: none
  column('numAllowed', 'i32', (d) => d.maxRows), // 0: every id may be sampled
  column('allowedIds', 'i32', (d) => d.maxRows * maxAllowedIds),
  column('badWordsLen', 'i32', (d) => d.maxRows), // words that are used of the next column
  column('badWords', 'i32', (d) => d.maxRows * badWordsLenMax), // sequences that the output must not hold: length, ids, length, ids, …
  column('thinkingBudget', 'i32', (d) => d.maxRows), // most tokens of reasoning before its end is forced; -1: as many as it likes
  column('thinkingBeginLen', 'i32', (d) => d.maxRows), // bytes of the next column; -1: it is one id; 0: the output reasons from its start
  column('thinkingBegin', 'i32', (d) => d.maxRows * markerLenMax), // what the output begins with if it reasons
  column('thinkingEndLen', 'i32', (d) => d.maxRows), // bytes of the next column; -1: it is one id
  column('thinkingEnd', 'i32', (d) => d.maxRows * markerLenMax), // what ends reasoning
  column('thinkingEndIdsLen', 'i32', (d) => d.maxRows),
  column('thinkingEndIds', 'i32', (d) => d.maxRows * markerLenMax), // the end as tokens, to be forced
] as const;

/**
 * One step's plan: N entries, T token slots. Entry i owns slots queryStart[i] … queryStart[i+1]-1. Where startPosition is -1 they are one
 * for the row's newest token and the rest for drafts, all sampled: a bound, since the rank takes as many as it finds drafts that fit.
 */
export const planColumns = [
  column('planHeader', 'i32', () => 16), // epoch, numEntries, numTokens, numOutputs; least and most tokens that a draft's lookup must match
  column('rows', 'i32', (d) => d.maxRows), // [N]
  column('queryStart', 'i32', (d) => d.maxRows + 1), // [N+1]
  column('startPosition', 'i32', (d) => d.maxRows), // [N] position of the first slot; -1: the row's own length, which the rank knows
  column('contextMax', 'i32', (d) => d.maxRows), // [N] most tokens in the KV cache after this step; blocks are there for all of them
  column('entryFlags', 'i32', (d) => d.maxRows), // [N] see entryFlag
  column('outputStart', 'i32', (d) => d.maxRows + 1), // [N+1] rows of logits that are looked at, in entry order
] as const;

/** Of `timesUs`, in the order of `PhaseTimes` in native/common/forward.h. total: the whole step; wait: for other ranks, within the other phases. */
export const stepPhases = ['total', 'attention', 'linear', 'head', 'sample', 'wait'] as const;
export type StepPhase = (typeof stepPhases)[number];
/** Numbers of a rank in `timesUs`: a cache line. */
export const phaseStride = 8;

/** One step's result. O outputs: entry i owns outputs outputStart[i] … outputStart[i+1]-1, the first of them where it tried fewer drafts. */
export const resultColumns = [
  column('resultHeader', 'i32', () => 16), // epoch, fault, slots that were computed
  column('numSampled', 'i32', (d) => d.maxRows), // [N] 0: a chunk that is not the last, or a row at its end; more than 1: accepted drafts
  column('sampledIds', 'i32', (d) => d.maxRows * (d.maxDrafts + 1)), // [N, maxDrafts+1]
  column('outcome', 'i32', (d) => d.maxRows), // [N] see rowOutcome
  column('numDrafts', 'i32', (d) => d.maxRows), // [N] drafts that were tried
  column('numGuessed', 'i32', (d) => d.maxRows), // [N] ids that the lookup proposed, which may be one more: what is compared costs nothing
  column('numRight', 'i32', (d) => d.maxRows), // [N] how many of them, from the first on, are what was sampled
  column('outputIds', 'i32', (d) => d.maxTokens), // [O] the id that was sampled, or for a prompt position the id that follows it
  column('outputLogprobs', 'f32', (d) => d.maxTokens), // [O] natural log, of the raw logits
  column('outputRanks', 'i32', (d) => d.maxTokens), // [O] 1: the likeliest
  column('topIds', 'i32', (d) => d.maxTokens * d.maxLogprobs), // [O, maxLogprobs] best first, ties lowest id first
  column('topLogprobs', 'f32', (d) => d.maxTokens * d.maxLogprobs),
  column('timesUs', 'f64', (d) => d.worldSize * phaseStride), // [worldSize, phase]
] as const;

/** Bits of `entryFlags`. */
export const entryFlag = {
  /** The last slot's logits are sampled; its output is the entry's last. */
  sample: 1,
  /** First entry of a tenancy: the rank forgets what it knew of the row and reads `tokens[0 … startPosition+n)`. */
  reset: 2,
  /** Every slot's logits are scored against the token that follows it; one output a slot. */
  promptLogprobs: 4,
  /** The hidden state (after the final norm) of the first slot becomes the row's `pooled`; of the last slot; the sum over all slots is
   *  added to it, or with `reset` becomes it. */
  poolFirst: 8,
  poolLast: 16,
  poolSum: 32,
} as const;

/** Values of `outcome`: what the ranks know of a sequence that the ids do not say. */
export const rowOutcome = {
  goesOn: 0,
  /** Its grammar is complete with these ids, and nothing may follow. */
  ended: 1,
  /** No id may come: grammar, allowed ids and bad words leave none, or the grammar is beyond its bounds. The last id means nothing. */
  stuck: 2,
} as const;

/** Indices into `control`, in words. */
export const control = {
  /** Epoch of the newest published plan. Ranks wait on it. */
  dispatched: 0,
  /** Rung by arrivals and by finished steps. The engine thread sleeps on it. */
  doorbell: 16,
  /** Non-zero: ranks leave their loop. */
  stop: 32,
  /** Non-zero: a fault; every native wait returns at once. */
  abort: 48,
  /** rank r: epoch of its newest finished step at rank0 + 16 r, its status in the word after that. */
  rank0: 64,
} as const;

export interface Placement {
  readonly name: string;
  readonly type: ColumnType;
  readonly count: number;
  readonly byteOffset: number;
}
export interface StepLayout {
  readonly dims: StepDims;
  readonly byteLength: number;
  readonly maxBlocksPerRow: number;
  /** Every column: control, row, then plan and result once a slot. */
  readonly placements: readonly Placement[];
}

const bytesOf = { i32: 4, f32: 4, f64: 8 } as const;

/** Places every column, each on a cache line of its own. */
export function layOut(dims: StepDims): StepLayout {
  const placements: Placement[] = [];
  let end = 0;
  const place = (columns: readonly Column[]) => {
    for (const { name, type, count } of columns) {
      placements.push({ name, type, count: count(dims), byteOffset: end });
      end += Math.ceil((count(dims) * bytesOf[type]) / 64) * 64;
    }
  };
  place(controlColumns);
  place(rowColumns);
  for (let slot = 0; slot < numSlots; slot++) {
    place(planColumns);
    place(resultColumns);
  }
  return { dims, byteLength: end, maxBlocksPerRow: maxBlocksPerRow(dims), placements };
}
