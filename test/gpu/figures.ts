/** Speeds of shapes of models (`shapes.ts`) on one GPU: decode at one row and at 32, prefill, and what lies between two steps. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StepShape, Steps } from '../../bench/step-runner.js';
import { loadAddon } from '../../src/addon/load.js';
import { kvBytesPerToken, type LoadedModel } from '../../src/model/spec.js';
import { say } from './line.js';
import { modelOfShape } from './shapes.js';

/** What a GPU was measured to do in the same run, by the native program. */
export interface Roof {
  readonly copyGBs: number | null;
  readonly productTflops: number | null;
}

interface Plan {
  readonly name: string;
  readonly shape: StepShape;
}

const plans = (small: boolean): readonly Plan[] => {
  const [short, long, prompt] = small ? [8, 16, 24] : [128, 512, 2048];
  return [
    { name: `decode, 1 row, context ${short}`, shape: { rows: 1, context: short, tokens: 1 } },
    { name: `decode, 32 rows, context ${long}`, shape: { rows: small ? 3 : 32, context: long, tokens: 1 } },
    { name: `prefill, ${prompt} tokens`, shape: { rows: 1, context: 0, tokens: prompt } },
  ];
};

const [stepsMin, stepsMax] = [5, 2000];
/** Decoding rows grow by so much, and are then taken back. */
const growthMax = 63;
/** Beside weights and KV cache: activations, and what a process on a device costs. */
const otherBytes = 3 * 2 ** 30;

/** Measures each for about `seconds`. */
export async function figures(name: string, roof: Roof, roots: readonly string[], seconds: number): Promise<void> {
  const small = name === 'tiny';
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-shape-'));
  const wanted = plans(small);
  try {
    const model = await modelOfShape(name, folder);
    const needed = bytesOf(model, wanted);
    const { memoryBytes } = loadAddon().devices().devices[0]!;
    if (!small && needed > memoryBytes) {
      const [needs, has] = [needed, memoryBytes].map((bytes) => Math.ceil(bytes / 2 ** 30));
      return say({ check: `${name} fits`, ok: true, detail: `not measured: it needs ${needs} GiB, and the device has ${has}` });
    }
    const steps = new Steps(
      model,
      wanted.map(({ shape }) => shape),
      {
        worldSize: 1,
        chunkMax: small ? 32 : 2048,
        growthMax: small ? 3 : growthMax,
        mode: 'reduce',
        threadsPerRank: 1,
        kvCacheType: model.computeType,
        gpu: { nccl: '', cublasLt: '', roots, sums: 'quickest', records: true, oneDevice: false },
      },
    );
    const weightBytes = await steps.ready;
    for (const { name: what, shape } of wanted) measure(steps, `${name}: ${what}`, shape, { model, weightBytes, roof, seconds });
    await steps.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** At most, with a KV cache in which every row may be as long as the longest. */
function bytesOf({ spec, weights, computeType }: LoadedModel, wanted: readonly Plan[]): number {
  const rows = Math.max(...wanted.map(({ shape }) => shape.rows));
  const tokens = Math.max(...wanted.map(({ shape }) => shape.context + shape.tokens)) + growthMax;
  const weightBytes = weights.tensors.reduce((sum, tensor) => sum + 2 * tensor.rows * tensor.cols, 0);
  return weightBytes + rows * tokens * kvBytesPerToken(spec, computeType) + otherBytes;
}

interface Facts {
  readonly model: LoadedModel;
  readonly weightBytes: number;
  readonly roof: Roof;
  readonly seconds: number;
}

function measure(steps: Steps, figure: string, shape: StepShape, facts: Facts): void {
  steps.fill(shape);
  steps.repeat(shape, 2, () => {}); // recordings and algorithms are made in the first
  const triedMs = performance.now();
  steps.repeat(shape, 2, () => {});
  const times = Math.max(stepsMin, Math.min(stepsMax, Math.round((facts.seconds * 2000) / (performance.now() - triedMs))));
  let insideUs = 0;
  const startMs = performance.now();
  steps.repeat(shape, times, (result) => {
    insideUs += result.timesUs[0]!;
  });
  const stepUs = ((performance.now() - startMs) * 1000) / times;
  const rate = (shape.rows * shape.tokens * 1e6) / stepUs;
  const note = `${stepUs.toFixed(0)} us a step, mean of ${times}`;
  const isDecode = shape.tokens === 1;
  const { read, flops } = costOf(shape, facts);
  const bytesBound = facts.roof.copyGBs && (facts.roof.copyGBs * 1e9 * shape.rows) / read;
  const flopsBound = facts.roof.productTflops && (facts.roof.productTflops * 1e12 * shape.tokens) / flops;
  say({ figure, value: rate, unit: 'tok/s', note, bound: isDecode ? bytesBound : flopsBound });
  if (shape.rows === 1 && isDecode) {
    const gap = 'wall time of a step less that from its launch to its end; 0: it lay in the stream before the last one had ended';
    say({
      figure: figure.replace(/:.*/, ': host gap between steps'),
      value: Math.max(0, stepUs - insideUs / times),
      unit: 'us',
      note: gap,
      bound: null,
    });
  }
}

/** Bytes that one step must read, and operations that it must make in products. */
function costOf({ rows, context, tokens }: StepShape, { model, weightBytes }: Facts): { read: number; flops: number } {
  const { spec, computeType } = model;
  const { vocab, hidden } = spec.dims;
  const embedding = vocab * hidden;
  // Of an embedding that is not the head too, a step reads single rows.
  const read = weightBytes - (spec.embedding.tied ? 0 : 2 * embedding) + rows * (context + 1) * kvBytesPerToken(spec, computeType);
  const body = weightBytes / 2 - embedding * (spec.embedding.tied ? 1 : 2);
  return { read, flops: 2 * (body * rows * tokens + embedding * rows) };
}
