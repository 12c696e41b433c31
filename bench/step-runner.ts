/**
 * Engine steps without an engine: the ranks of one model, driven by plans written here. The same step is run again and again over a context
 * that was really computed, so that the KV cache is in memory and not a page of zeros.
 */
import type { LoadedModel } from '../src/model/spec.js';
import { doorbellEpoch, waitForRing } from '../src/parallel/channel.js';
import { RankGroup, type RankGroupOptions } from '../src/parallel/rank-group.js';
import { StepDriver } from '../src/parallel/step-driver.js';
import type { StepResult } from '../src/step/buffers.js';
import { entryFlag } from '../src/step/layout.js';

/** `rows` sequences that each take `tokens` tokens from position `context` on. */
export interface StepShape {
  readonly rows: number;
  readonly context: number;
  readonly tokens: number;
}

export interface StepsOptions extends Pick<RankGroupOptions, 'mode' | 'threadsPerRank' | 'kvCacheType' | 'gpu'> {
  readonly worldSize: number;
  /** Tokens of a step with which contexts are computed. */
  readonly chunkMax: number;
  /** Tokens that `repeat` lets decoding rows grow before it takes them back; 0: none. */
  readonly growthMax?: number;
}

const blockSize = 16;

/** The ranks of one model, and rows whose first tokens are in the KV cache. */
export class Steps {
  readonly #ranks: RankGroup;
  readonly #driver: StepDriver;
  readonly #chunkMax: number;
  readonly #growthMax: number;
  readonly #filled: Int32Array; // [rows] tokens whose K and V are in the cache
  readonly #length: Int32Array; // [rows] as the ranks know it: a step may go back, and forward only with a reset
  #epoch = 0;

  constructor(model: LoadedModel, shapes: readonly StepShape[], { worldSize, chunkMax, growthMax = 0, ...options }: StepsOptions) {
    const maxRows = Math.max(...shapes.map((s) => s.rows));
    const maxSeqLen = Math.max(...shapes.map((s) => s.context + s.tokens)) + 1 + growthMax;
    const numBlocks = maxRows * Math.ceil(maxSeqLen / blockSize);
    const maxTokens = Math.max(chunkMax, ...shapes.map((s) => s.rows * s.tokens));
    const dims = { maxRows, maxTokens, maxSeqLen, blockSize, numBlocks, maxDrafts: 0, maxLogprobs: 0, worldSize, pooledLen: 0 };
    this.#ranks = new RankGroup(model, { ...options, dims, stepTimeoutMs: 60_000, cache: null });
    this.#driver = new StepDriver(this.#ranks.buffers);
    this.#chunkMax = chunkMax;
    this.#growthMax = growthMax;
    this.#filled = new Int32Array(maxRows);
    this.#length = new Int32Array(maxRows);
    const { rows, layout } = this.#ranks.buffers;
    const { vocab } = model.spec.dims;
    for (let i = 0; i < rows.tokens.length; i++) rows.tokens[i] = ((i * 2654435761) >>> 8) % vocab;
    for (let i = 0; i < rows.blockTables.length; i++) {
      const row = Math.floor(i / layout.maxBlocksPerRow);
      rows.blockTables[i] = (i % layout.maxBlocksPerRow) * maxRows + row;
    }
    rows.topP.fill(1);
    rows.repetitionPenalty.fill(1);
    rows.numLogprobs.fill(-1);
    rows.numPromptLogprobs.fill(-1);
  }

  /** Bytes of weights of all ranks. */
  get ready(): Promise<number> {
    return this.#ranks.ready;
  }

  stop(): Promise<void> {
    return this.#ranks.stop();
  }

  /** Rows first … first+rows-1 make the step. The result's views are overwritten by the step after next. */
  run(first: number, shape: StepShape, sample: boolean): StepResult {
    this.#dispatch(first, shape, sample);
    return this.#collect();
  }

  /**
   * Makes the step `times` times, each planned while the one before it runs, as an engine does; `each` sees every result. Rows that decode go
   * on from what they have sampled, which the rank knows, until they have grown by `growthMax`.
   */
  repeat(shape: StepShape, times: number, each: (result: StepResult) => void): void {
    const turn = shape.tokens === 1 ? this.#growthMax + 1 : 1;
    for (let i = 0; i <= times; i++) {
      if (i < times) this.#dispatch(0, shape, true, i % turn);
      if (i > 0) each(this.#collect());
    }
  }

  /** Computes what the rows of a shape have behind them. */
  fill({ rows, context }: StepShape): void {
    for (let row = 0; row < rows; row++) {
      for (let at = this.#filled[row]!; at < context; at = this.#filled[row]!) {
        this.run(row, { rows: 1, context: at, tokens: Math.min(this.#chunkMax, context - at) }, false);
      }
    }
  }

  /** `grown`: tokens that the rows have decoded since they were at `context`. */
  #dispatch(first: number, { rows, context, tokens }: StepShape, sample: boolean, grown = 0): void {
    const epoch = ++this.#epoch;
    const plan = this.#ranks.buffers.plans[epoch & 1]!;
    for (let i = 0; i < rows; i++) {
      const row = first + i;
      plan.rows[i] = row;
      plan.queryStart[i] = i * tokens;
      plan.startPosition[i] = grown > 0 ? -1 : context;
      plan.contextMax[i] = context + tokens + grown;
      plan.entryFlags[i] = (sample ? entryFlag.sample : 0) | (context === 0 || context > this.#length[row]! ? entryFlag.reset : 0);
      plan.outputStart[i] = sample ? i : 0;
      this.#length[row] = context + tokens + grown;
      this.#filled[row] = Math.max(this.#filled[row]!, context + tokens);
    }
    plan.queryStart[rows] = rows * tokens;
    plan.outputStart[rows] = sample ? rows : 0;
    plan.planHeader.set([epoch, rows, rows * tokens, sample ? rows : 0]);
    this.#driver.dispatch(epoch);
  }

  #collect(): StepResult {
    const { control } = this.#ranks.buffers;
    for (;;) {
      const rung = doorbellEpoch(control);
      const result = this.#driver.collect();
      if (result !== null) return result;
      waitForRing(control, rung, 1000);
    }
  }
}
