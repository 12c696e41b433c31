/**
 * Time of one engine step inside the ranks, by phase: what is left for the kernels when scheduler, HTTP and sampling parameters are taken
 * away.
 *
 *   node dist/bench/steps.js MODEL [--kv TYPE] [--tp N] [--threads N] [--seconds S] ROWSxCONTEXT[xTOKENS] …
 *
 * 16x100 is a step of 16 decoding rows at position 100; 1x0x512 a prompt's first 512 tokens; 1x3584x512 its eighth.
 */
import { parseArgs } from 'node:util';
import { loadModel } from '../src/model/load.js';
import { type KvCacheType, kvBytesPerToken } from '../src/model/spec.js';
import { threadsPerRank } from '../src/parallel/devices.js';
import { type StepShape, Steps } from './step-runner.js';

const chunkMax = 512;
/** As `PhaseTimes` of native/common/forward.h. */
const phases = ['total', 'attention', 'linear', 'head', 'sample', 'wait'];

function parseShape(text: string): StepShape {
  const match = /^(\d+)x(\d+)(?:x(\d+))?$/.exec(text);
  if (match === null) throw new Error(`'${text}' is not ROWSxCONTEXT[xTOKENS]`);
  return { rows: Number(match[1]), context: Number(match[2]), tokens: Number(match[3] ?? 1) };
}

function measure(steps: Steps, shape: StepShape, seconds: number): number[] {
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
const worldSize = Number(values.tp);
const steps = new Steps(model, shapes, {
  worldSize,
  chunkMax,
  mode: 'gather',
  threadsPerRank: threadsPerRank(values.threads === undefined ? null : Number(values.threads), worldSize),
  kvCacheType,
});
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
