import type { SpeculationOptions } from './speculation.js';

/** Rows, token slots, lengths and blocks are those of the step buffers. */
export interface SchedulerOptions {
  /** Most sequences that run at once; at most `maxRows`. A row is free again one step after its sequence ended. */
  readonly maxNumSeqs: number;
  readonly enablePrefixCaching: boolean;
  /** false: a prompt is computed in one step, so `maxTokens` must be at least `maxSeqLen`. */
  readonly chunkedPrefill: boolean;
  /** Most tokens of one sequence in a step; 0: off. */
  readonly longPrefillThreshold: number;
  readonly policy: 'fcfs' | 'priority';
  /** Share of the blocks that an admission leaves free, beside room for the running to grow into; not looked at when nothing runs. */
  readonly watermark: number;
  /** Blocks of that room for each of the running that may come to need them; 2 when left out, see `growthBlocksDefault`. */
  readonly growthBlocks?: number;
  /** 1: a step is planned when the one before it is back; 2: one step ahead. */
  readonly maxInFlight: 1 | 2;
  /** Drafts by prompt lookup; left out: none. `maxDrafts` is at most that of the step buffers. */
  readonly speculation?: SpeculationOptions;
}
