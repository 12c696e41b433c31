/**
 * What crosses between an API thread and the engine's: plain data, one batch a step on the way back. Tokens are packed in one
 * Int32Array, since a small object for each token of 256 streams would cost more than the scheduler.
 */
import type { ErrorCode } from '../errors.js';
import { preemptionBounds, stepTokenBounds } from '../metrics/metrics.js';
import type { Control } from './control.js';
import type { GenerationRequest, TokenLogprobs } from './request.js';

export type ToEngine =
  | { readonly kind: 'submit'; readonly handle: number; readonly request: GenerationRequest }
  | { readonly kind: 'abort'; readonly handle: number }
  | { readonly kind: 'finishChoice'; readonly handle: number; readonly choice: number }
  | { readonly kind: 'control'; readonly number: number; readonly control: Control }
  | { readonly kind: 'stop' };

/**
 * Handles of requests, and numbers of controls, are positive int32s whose 6 high bits (`clientsMax`) say which port asked: each counts for itself
 * below.
 */
const countBits = 25;
export const countMax = 2 ** countBits - 1;
export const handleOf = (port: number, count: number): number => (port << countBits) | count;
export const portOf = (handle: number): number => handle >> countBits;

/** A step's news of all requests of one port. */
export interface Batch {
  /** Records of `recordLen` words and then their ids: handle, choice, number of ids, finish code, stop token id or -1. */
  readonly records: Int32Array;
  /** Log-probabilities of the ids, for records that have some: [record index, one entry for each id]. */
  readonly logprobs: readonly (readonly [record: number, logprobs: readonly TokenLogprobs[]])[];
  /** Pooled hidden states, for records that have some. */
  readonly pooled: readonly (readonly [record: number, values: Float32Array])[];
  /** Requests whose first news this is, before their records. */
  readonly prompts: readonly PromptNews[];
  /** Choices that ended with an error. */
  readonly errors: readonly ErrorNews[];
  /** Numbers of the controls that have been done. */
  readonly done: readonly number[];
}

export interface PromptNews {
  readonly handle: number;
  readonly cachedTokens: number;
  readonly queueMs: number;
  readonly promptLogprobs: readonly TokenLogprobs[] | null;
}

export interface ErrorNews {
  readonly handle: number;
  readonly choice: number;
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | null;
}

export const recordLen = 5;

/** Counters that the engine thread writes and any thread reads: Float64Array over shared memory. */
export const counterIndex = {
  running: 0,
  waiting: 1,
  kvCacheUsage: 2,
  preemptions: 3,
  promptTokens: 4,
  generationTokens: 5,
  prefixCacheQueries: 6,
  prefixCacheHits: 7,
  steps: 8,
  hostTimeUs: 9,
  specDrafts: 10,
  specDraftTokens: 11,
  specAcceptedTokens: 12,
  asleep: 13,
} as const;
/** Behind them two histograms, as `metrics/series.ts` has them, and accepted drafts by position. */
export const stepTokensCounter = 14;
export const requestPreemptionsCounter = stepTokensCounter + stepTokenBounds.length + 2;
export const firstPositionCounter = requestPreemptionsCounter + preemptionBounds.length + 2;
