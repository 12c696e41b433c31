/**
 * Time of one engine step inside the ranks, by phase: what is left for the kernels when scheduler, HTTP and sampling parameters are taken
 * away. The same step is run again and again over a context that was really computed, so that the KV cache is in memory and not a page
 * of zeros.
 *
 *   node dist/bench/steps.js MODEL [--kv TYPE] [--tp N] [--threads N] [--seconds S] ROWSxCONTEXT[xTOKENS] …
 *
 * 16x100 is a step of 16 decoding rows at position 100; 1x0x512 a prompt's first 512 tokens; 1x3584x512 its eighth.
 */
import { parseArgs } from 'node:util';
import { loadModel } from '../src/model/load.js';
import { type KvCacheType, kvBytesPerToken, type LoadedModel } from '../src/model/spec.js';
import { doorbellEpoch, waitForRing } from '../src/parallel/channel.js';
import { threadsPerRank } from '../src/parallel/devices.js';
import { RankGroup } from '../src/parallel/rank-group.js';
import { StepDriver } from '../src/parallel/step-driver.js';
import type { StepResult } from '../src/step/buffers.js';
import { entryFlag } from '../src/step/layout.js';

interface Shape {
  readonly rows: number;
  readonly context: number;
  readonly tokens: number;
}

const blockSize = 16;
const chunkMax = 512;
/** As `PhaseTimes` of native/common/forward.h. */
const phases = ['total', 'attention', 'linear', 'head', 'sample', 'wait'];

function parseShape(text: string): Shape {
  const match = /^(\d+)x(\d+)(?:x(\d+))?$/.exec(text);
  if (match === null) throw new Error(`'${text}' is not ROWSxCONTEXT[xTOKENS]`);
  return { rows: Number(match[1]), context: Number(match[2]), tokens: Number(match[3] ?? 1) };
}

/** The ranks of one model, and rows whose first tokens are in the KV cache. */
class Steps {
  readonly #ranks: RankGroup;
  readonly #driver: StepDriver;
  readonly #filled: Int32Array; // [rows] tokens whose K and V are in the cache
  readonly #length: Int32Array; // [rows] as the ranks know it: a step may go back, and forward only with a reset
  #epoch = 0;

  constructor(model: LoadedModel, shapes: readonly Shape[], worldSize: number, threads: number | null, kvCacheType: KvCacheType) {
    const maxRows = Math.max(...shapes.map((s) => s.rows));
    const maxSeqLen = Math.max(...shapes.map((s) => s.context + s.tokens)) + 1;
    const numBlocks = maxRows * Math.ceil(maxSeqLen / blockSize);
    const maxTokens = Math.max(chunkMax, ...shapes.map((s) => s.rows * s.tokens));
    const dims = { maxRows, maxTokens, maxSeqLen, blockSize, numBlocks, maxDrafts: 0, maxLogprobs: 0, worldSize, pooledLen: 0 };
    this.#ranks = new RankGroup(model, {
      dims,
      mode: 'gather',
      threadsPerRank: threadsPerRank(threads, worldSize),
      stepTimeoutMs: 60_000,
      cache: null,
      kvCacheType,
    });
    this.#driver = new StepDriver(this.#ranks.buffers);
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

  get ready(): Promise<number> {
    return this.#ranks.ready;
  }

  stop(): Promise<void> {
    return this.#ranks.stop();
  }

  /** Rows first … first+rows-1 each take `tokens` tokens from `position` on. */
  run(first: number, { rows, context, tokens }: Shape, sample: boolean): StepResult {
    const epoch = ++this.#epoch;
    const { plans, control } = this.#ranks.buffers;
    const plan = plans[epoch & 1]!;
    for (let i = 0; i < rows; i++) {
      const row = first + i;
      plan.rows[i] = row;
      plan.queryStart[i] = i * tokens;
      plan.startPosition[i] = context;
      plan.contextMax[i] = context + tokens;
      plan.entryFlags[i] = (sample ? entryFlag.sample : 0) | (context === 0 || context > this.#length[row]! ? entryFlag.reset : 0);
      plan.outputStart[i] = sample ? i : 0;
      this.#length[row] = context + tokens;
      this.#filled[row] = Math.max(this.#filled[row]!, context + tokens);
    }
    plan.queryStart[rows] = rows * tokens;
    plan.outputStart[rows] = sample ? rows : 0;
    plan.planHeader.set([epoch, rows, rows * tokens, sample ? rows : 0]);
    this.#driver.dispatch(epoch);
    for (;;) {
      const rung = doorbellEpoch(control);
      const result = this.#driver.collect();
      if (result !== null) return result;
      waitForRing(control, rung, 1000);
    }
  }

  /** Computes what the rows of a shape have behind them. */
  fill({ rows, context }: Shape): void {
    for (let row = 0; row < rows; row++) {
      for (let at = this.#filled[row]!; at < context; at = this.#filled[row]!) {
        this.run(row, { rows: 1, context: at, tokens: Math.min(chunkMax, context - at) }, false);
      }
    }
  }
}

function measure(steps: Steps, shape: Shape, seconds: number): number[] {
  steps.fill(shape);
  const times: number[][] = [];
  const startMs = performance.now();
  while (times.length < 5 || performance.now() - startMs < seconds * 1000) times.push([...steps.run(0, shape, true).timesUs.slice(0, 6)]);
  times.sort((a, b) => a[0]! - b[0]!);
  return times[Math.floor(times.length / 2)]!;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tp: { type: 'string', default: '1' },
    threads: { type: 'string' },
    kv: { type: 'string' },
    seconds: { type: 'string', default: '1' },
  },
});
const [path, ...shapeTexts] = positionals;
if (path === undefined || shapeTexts.length === 0) throw new Error('usage: steps.js MODEL ROWSxCONTEXT[xTOKENS] …');
const shapes = shapeTexts.map(parseShape);
const model = await loadModel(path, { dtype: 'auto', maxModelLen: null });
const kvCacheType = (values.kv ?? model.computeType) as KvCacheType;
const steps = new Steps(model, shapes, Number(values.tp), values.threads === undefined ? null : Number(values.threads), kvCacheType);
const weightBytes = await steps.ready;
console.log(`weights ${(weightBytes / 1e6).toFixed(1)} MB, KV ${kvBytesPerToken(model.spec, kvCacheType)} bytes a token; medians in us`);
console.log(`${'step'.padEnd(16)} ${phases.map((name) => name.padStart(10)).join('')} ${'tok/s'.padStart(9)} ${'GB/s'.padStart(6)}`);
for (const shape of shapes) {
  const times = measure(steps, shape, Number(values.seconds));
  const kvBytes = shape.rows * shape.context * kvBytesPerToken(model.spec, kvCacheType);
  const rate = (shape.rows * shape.tokens * 1e6) / times[0]!;
  const read = (weightBytes + kvBytes) / times[0]! / 1e3;
  const name = `${shape.rows}x${shape.context}${shape.tokens === 1 ? '' : `x${shape.tokens}`}`;
  console.log(
    `${name.padEnd(16)} ${times.map((us) => us.toFixed(0).padStart(10)).join('')} ${rate.toFixed(0).padStart(9)} ${read.toFixed(1).padStart(6)}`,
  );
}
await steps.stop();
