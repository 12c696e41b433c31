/**
 * Host time of the scheduler's share of a decode step: `schedule`, and `update` with a result that is there at once. The bound for
 * all of the host's work is 50 us + 0.5 us a request (architecture.md §2); the scheduler should be a small part of it.
 *
 *   node dist/bench/host/scheduler.js
 */
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { neutralSampling } from '../../src/sampling/params.js';
import { Scheduler } from '../../src/scheduler/scheduler.js';
import { type StepBuffers, type StepPlan, stepBuffers } from '../../src/step/buffers.js';
import { entryFlag } from '../../src/step/layout.js';

const blockSize = 16;
const promptLen = 128;
const numSteps = 1000;

export interface SchedulerTimes {
  readonly numSequences: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** The admission of all of them, in one call or several, for each sequence. */
  readonly admissionUs: number;
  /** 50 us + 0.5 us a request. */
  readonly boundUs: number;
}

/** Every entry that samples brings an id; what the ranks would write. */
function answer(buffers: StepBuffers, plan: StepPlan): void {
  const result = buffers.results[plan.planHeader[0]! & 1]!;
  result.resultHeader[0] = plan.planHeader[0]!;
  for (let i = 0; i < plan.planHeader[1]!; i++) {
    result.numSampled[i] = plan.entryFlags[i]! & entryFlag.sample;
    result.sampledIds[i] = (i * 7 + plan.startPosition[i]!) & 1023;
  }
}

function makeScheduler(numSequences: number): { buffers: StepBuffers; scheduler: Scheduler } {
  const maxSeqLen = promptLen + numSteps + 16;
  const buffers = stepBuffers({
    maxRows: numSequences,
    maxTokens: 8192,
    maxSeqLen,
    blockSize,
    numBlocks: numSequences * Math.ceil(maxSeqLen / blockSize),
    maxDrafts: 0,
    maxLogprobs: 0,
    pooledLen: 0,
    worldSize: 1,
  });
  const scheduler = new Scheduler(buffers, {
    maxNumSeqs: numSequences,
    enablePrefixCaching: true,
    chunkedPrefill: true,
    longPrefillThreshold: 0,
    policy: 'fcfs',
    watermark: 0.01,
    maxInFlight: 2,
  });
  for (let key = 0; key < numSequences; key++) {
    scheduler.add({
      key,
      promptTokens: Int32Array.from({ length: promptLen }, (_, i) => (i === 0 ? key : i)),
      sampling: neutralSampling,
      choice: 0,
      seed: BigInt(key),
      stop: {
        eosTokenIds: [100_000],
        stopTokenIds: [100_001],
        stopStrings: [],
        includeStopString: false,
        ignoreEos: false,
        minTokens: 0,
        maxTokens: numSteps + 2,
      },
      priority: 0,
      cacheSalt: null,
    });
  }
  return { buffers, scheduler };
}

export function measureScheduler(numSequences: number): SchedulerTimes {
  const { buffers, scheduler } = makeScheduler(numSequences);
  const before = performance.now();
  const inFlight: StepPlan[] = [];
  while (scheduler.counters().waiting > 0) {
    const plan = scheduler.schedule();
    if (plan !== null) inFlight.push(plan);
    if (inFlight.length < 2) continue;
    const oldest = inFlight.shift()!;
    answer(buffers, oldest);
    scheduler.update(buffers.results[oldest.planHeader[0]! & 1]!);
  }
  const admissionUs = ((performance.now() - before) * 1000) / numSequences;

  const times: number[] = [];
  for (let i = 0; i < numSteps - 32; i++) {
    // One step ahead, as the engine runs it: two in flight between the two calls.
    const oldest = inFlight.length === 2 ? inFlight.shift()! : null;
    if (oldest !== null) answer(buffers, oldest);
    const begin = performance.now();
    if (oldest !== null) scheduler.update(buffers.results[oldest.planHeader[0]! & 1]!);
    const plan = scheduler.schedule();
    times.push((performance.now() - begin) * 1000);
    if (plan !== null) inFlight.push(plan);
  }
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.floor(q * times.length)]!;
  return { numSequences, p50Us: quantile(0.5), p99Us: quantile(0.99), admissionUs, boundUs: 50 + 0.5 * numSequences };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  measureScheduler(64); // the compiler gets to know the code
  const cells = (values: readonly string[]) => console.log(values.map((v, i) => (i === 0 ? v.padEnd(10) : v.padStart(14))).join(''));
  cells(['requests', 'step p50 us', 'step p99 us', 'bound us', 'admission us']);
  for (const numSequences of [1, 64, 256, 1024]) {
    const { p50Us, p99Us, boundUs, admissionUs } = measureScheduler(numSequences);
    cells([String(numSequences), ...[p50Us, p99Us, boundUs, admissionUs].map((us) => us.toFixed(1))]);
  }
}
