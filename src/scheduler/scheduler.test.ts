import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../errors.js';
import { type StepBuffers, type StepPlan, stepBuffers } from '../step/buffers.js';
import { entryFlag, maxBiasLen, maxStopIds, type StepDims } from '../step/layout.js';
import type { SchedulerOptions } from './options.js';
import { finishCode, type SchedulerOutput } from './output.js';
import { maxOvertakes, Scheduler } from './scheduler.js';
import { sequenceInput } from './test-inputs.js';

interface Bench {
  readonly buffers: StepBuffers;
  readonly scheduler: Scheduler;
}

function start(dims: Partial<StepDims> = {}, options: Partial<SchedulerOptions> = {}): Bench {
  const buffers = stepBuffers({
    maxRows: 4,
    maxTokens: 16,
    maxSeqLen: 32,
    blockSize: 4,
    numBlocks: 16,
    maxDrafts: 0,
    maxLogprobs: 0,
    worldSize: 1,
    pooledLen: 0,
    ...dims,
  });
  const scheduler = new Scheduler(buffers, {
    maxNumSeqs: buffers.layout.dims.maxRows,
    enablePrefixCaching: true,
    chunkedPrefill: true,
    longPrefillThreshold: 0,
    policy: 'fcfs',
    watermark: 0,
    maxInFlight: 2,
    ...options,
  });
  return { buffers, scheduler };
}

/** What a plan says: the sequence (the low word of its seed), first and last position, flags. */
const entries = ({ buffers }: Bench, plan: StepPlan | null) =>
  Array.from({ length: plan?.planHeader[1] ?? 0 }, (_, i) => [
    buffers.rows.seedLow[plan!.rows[i]!],
    plan!.startPosition[i],
    plan!.contextMax[i],
    plan!.entryFlags[i],
  ]);

/** The oldest step comes back; every entry that samples brings `id`. */
function answer({ buffers, scheduler }: Bench, plan: StepPlan, id: number): SchedulerOutput {
  const result = buffers.results[plan.planHeader[0]! & 1]!;
  result.resultHeader[0] = plan.planHeader[0]!;
  for (let i = 0; i < plan.planHeader[1]!; i++) {
    result.numSampled[i] = plan.entryFlags[i]! & entryFlag.sample;
    result.sampledIds[i] = id;
  }
  return scheduler.update(result);
}

const step = (bench: Bench, id: number) => answer(bench, bench.scheduler.schedule()!, id);
const input = (key: number, prompt: number[], fields: Parameters<typeof sequenceInput>[2] = {}) =>
  sequenceInput(key, prompt, { seed: BigInt(key), ...fields });
const prompt = (length: number, first = 100) => Array.from({ length }, (_, i) => first + i);
const first = entryFlag.reset | entryFlag.sample;

test('a prompt is computed in chunks, the last of which samples; decode goes on one token a step, one step ahead', () => {
  const bench = start({ maxTokens: 6 });
  bench.scheduler.add(input(1, prompt(10)));
  const one = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, one), [[1, 0, 6, entryFlag.reset]]);
  const two = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, two), [[1, 6, 10, entryFlag.sample]]);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [], 'two steps are in flight');
  assert.equal(answer(bench, one, 0).numEntries, 0);
  const three = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, three), [[1, 10, 11, entryFlag.sample]], 'before the id is known');
  const output = answer(bench, two, 55);
  assert.deepEqual([output.numEntries, output.keys[0], output.numIds[0], output.ids[0]], [1, 1, 1, 55]);
});

test('decodes come before the chunk of a newcomer, and share its step', () => {
  const bench = start({ maxTokens: 8 });
  bench.scheduler.add(input(1, prompt(3)));
  step(bench, 0);
  bench.scheduler.add(input(2, prompt(20, 200)));
  const plan = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, plan), [
    [1, 3, 4, entryFlag.sample],
    [2, 0, 7, entryFlag.reset],
  ]);
  assert.deepEqual(Array.from(plan.queryStart.subarray(0, 3)), [0, 1, 8]);
  assert.deepEqual(Array.from(plan.outputStart.subarray(0, 3)), [0, 1, 1]);
  assert.deepEqual(Array.from(plan.planHeader.subarray(0, 4)), [2, 2, 8, 1]);
});

test('the row holds all that the sampler wants to know', () => {
  const bench = start();
  const sampling = { temperature: 0.5, topK: 9, logitBias: [[7, -1.5]] as const, numLogprobs: 3 };
  const fields = { sampling, seed: 0x1234567890abcdefn, choice: 2, minTokens: 3, eosTokenIds: [5], stopTokenIds: [6] };
  bench.scheduler.add(input(1, prompt(3), fields));
  const row = bench.scheduler.schedule()!.rows[0]!;
  const { rows } = bench.buffers;
  assert.deepEqual([rows.temperature[row], rows.topK[row], rows.numLogprobs[row], rows.numPromptLogprobs[row]], [0.5, 9, 3, -1]);
  assert.deepEqual([rows.numBias[row], rows.biasIds[row * maxBiasLen], rows.biasValues[row * 1024]], [1, 7, -1.5]);
  assert.deepEqual([rows.seedLow[row]! >>> 0, rows.seedHigh[row]], [0x90abcdef, 0x12345678]);
  assert.deepEqual([rows.choice[row], rows.promptLen[row], rows.minTokens[row], rows.numStopIds[row]], [2, 3, 3, 2]);
  assert.deepEqual(Array.from(rows.stopIds.subarray(row * maxStopIds, row * maxStopIds + 2)), [5, 6]);
  assert.deepEqual(Array.from(rows.tokens.subarray(row * 32, row * 32 + 3)), prompt(3));
});

test('a known end is not scheduled; a stop id costs one step, whose result is dropped', () => {
  const bench = start();
  bench.scheduler.add(input(1, prompt(3), { maxTokens: 2 }));
  bench.scheduler.add(input(2, prompt(3, 200), { stopTokenIds: [9], maxTokens: 3 }));
  const one = bench.scheduler.schedule()!;
  const two = bench.scheduler.schedule()!;
  answer(bench, one, 8);
  const three = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, three), [[2, 4, 5, entryFlag.sample]], 'sequence 1 ends with what is in flight');
  const output = answer(bench, two, 9);
  assert.equal(output.numEntries, 2);
  assert.deepEqual(Array.from(output.finish.subarray(0, 2)), [finishCode.length, finishCode.stop]);
  assert.deepEqual(Array.from(output.stopId.subarray(0, 2)), [-1, 9]);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), []);
  assert.ok(bench.scheduler.hasWork(), 'a step is to come back');
  assert.equal(answer(bench, three, 9).numEntries, 0);
  assert.ok(!bench.scheduler.hasWork());
  assert.equal(bench.scheduler.counters().kvCacheUsage, 0);
});

test('ends: end-of-sequence ids say no stop id, ignoreEos looks past them, minTokens past all', () => {
  const ends = (fields: Parameters<typeof sequenceInput>[2], numSteps: number) => {
    const bench = start({}, { maxInFlight: 1 });
    bench.scheduler.add(input(1, prompt(3), { maxTokens: 9, ...fields }));
    let output = step(bench, 5);
    for (let i = 1; i < numSteps; i++) output = step(bench, 5);
    return [output.finish[0], output.stopId[0]];
  };
  assert.deepEqual(ends({ eosTokenIds: [5] }, 1), [finishCode.stop, -1]);
  assert.deepEqual(ends({ stopTokenIds: [5] }, 1), [finishCode.stop, 5]);
  assert.deepEqual(ends({ eosTokenIds: [5], ignoreEos: true }, 9), [finishCode.length, -1]);
  assert.deepEqual(ends({ stopTokenIds: [5], ignoreEos: true }, 1), [finishCode.stop, 5]);
  assert.deepEqual(ends({ stopTokenIds: [5], minTokens: 2 }, 2), [finishCode.none, -1]);
  assert.deepEqual(ends({ stopTokenIds: [5], minTokens: 2 }, 3), [finishCode.stop, 5]);
});

test('the longest sequence ends with length, and uses its last place', () => {
  const bench = start({ maxSeqLen: 8 }, { maxInFlight: 1 });
  bench.scheduler.add(input(1, prompt(6)));
  assert.equal(step(bench, 1).finish[0], finishCode.none);
  assert.equal(step(bench, 1).finish[0], finishCode.length);
});

test('a request for no tokens computes its prompt and ends', () => {
  const bench = start();
  bench.scheduler.add(input(1, prompt(6), { maxTokens: 0, sampling: { numPromptLogprobs: 0 } }));
  const plan = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, plan), [[1, 0, 6, entryFlag.reset | entryFlag.promptLogprobs]]);
  const output = answer(bench, plan, 0);
  assert.deepEqual([output.numIds[0], output.finish[0], output.numPrompt[0]], [0, finishCode.length, 5]);
});

test('a prompt that is pooled: each chunk says what of it; only the last token may come from the cache', () => {
  const chunks = (of: 'first' | 'last' | 'sum') => {
    const bench = start({ maxTokens: 6, pooledLen: 8 });
    const pooled = (key: number) => ({ ...input(key, prompt(10), { maxTokens: 0 }), pooling: { of, secondSegment: null } });
    bench.scheduler.add(pooled(1));
    const [one, two] = [bench.scheduler.schedule()!, bench.scheduler.schedule()!];
    const flags = [one.entryFlags[0]! & ~entryFlag.reset, two.entryFlags[0]!];
    assert.equal(answer(bench, one, 0).numEntries, 0);
    const output = answer(bench, two, 0);
    assert.deepEqual([output.finish[0], output.rows[0]], [finishCode.length, two.rows[0]]);
    bench.scheduler.add(pooled(2));
    return [...flags, bench.scheduler.schedule()!.startPosition[0]];
  };
  assert.deepEqual(chunks('first'), [entryFlag.poolFirst, 0, 0]);
  assert.deepEqual(chunks('last'), [0, entryFlag.poolLast, 8]);
  assert.deepEqual(chunks('sum'), [entryFlag.poolSum, entryFlag.poolSum, 0]);
});

test('equal prompts of one step share their full blocks, but compute their last token', () => {
  const bench = start();
  bench.scheduler.add(input(1, prompt(8)));
  bench.scheduler.add(input(2, prompt(8)));
  bench.scheduler.add(input(3, prompt(8), { cacheSalt: 'mine' }));
  const plan = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, plan), [
    [1, 0, 8, first],
    [2, 4, 8, first],
    [3, 0, 4, entryFlag.reset],
  ]);
  const table = (i: number) => Array.from(bench.buffers.rows.blockTables.subarray(plan.rows[i]! * 8, plan.rows[i]! * 8 + 2));
  assert.equal(table(1)[0], table(0)[0]);
  assert.notEqual(table(1)[1], table(0)[1]);
  assert.notEqual(table(2)[0], table(0)[0]);
  const output = answer(bench, plan, 0);
  assert.deepEqual(Array.from(output.cachedTokens.subarray(0, 2)), [0, 4]);
  assert.deepEqual(Array.from(output.firstStep.subarray(0, 2)), [1, 1]);
  const { prefixCacheQueries, prefixCacheHits } = bench.scheduler.counters();
  assert.deepEqual([prefixCacheQueries, prefixCacheHits], [24, 4]);
});

test('a conversation that goes on finds what was generated', () => {
  const bench = start({}, { maxInFlight: 1 });
  bench.scheduler.add(input(1, prompt(6), { maxTokens: 4 }));
  for (let i = 0; i < 4; i++) step(bench, 50 + i);
  bench.scheduler.add(input(2, [...prompt(6), 50, 51, 52, 53, 1, 2]));
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [[2, 8, 12, first]]);
});

test('forgotten prefixes are found by nobody, and those who run go on', () => {
  const bench = start({}, { maxInFlight: 1 });
  bench.scheduler.add(input(1, prompt(6), { maxTokens: 20 }));
  for (let i = 0; i < 4; i++) step(bench, 50 + i);
  bench.scheduler.forgetPrefixes();
  bench.scheduler.add(input(2, prompt(8)));
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [
    [1, 9, 10, entryFlag.sample],
    [2, 0, 8, first],
  ]);
});

test('while it is held nobody comes in; the running go on, or wait and resume with what they said', () => {
  const bench = start({}, { maxInFlight: 1 });
  bench.scheduler.add(input(1, prompt(6)));
  step(bench, 50);
  bench.scheduler.hold(true);
  bench.scheduler.add(input(2, prompt(8, 200)));
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [[1, 6, 7, entryFlag.sample]]);
  bench.scheduler.preemptAll();
  assert.equal(bench.scheduler.isStill(), false, 'a step is on its way');
  answer(bench, { ...bench.buffers.plans[0]! }, 51);
  assert.equal(bench.scheduler.isStill(), true);
  assert.equal(bench.scheduler.schedule(), null);
  assert.deepEqual([bench.scheduler.counters().running, bench.scheduler.counters().waiting], [0, 2]);
  bench.scheduler.hold(false);
  assert.deepEqual(
    entries(bench, bench.scheduler.schedule()).map(([seq, from, to]) => [seq, from, to]),
    [
      [1, 4, 8],
      [2, 0, 8],
    ],
  );
});

test('log-probabilities of the prompt: nothing is read from the cache, and each position comes once', () => {
  const bench = start({ maxTokens: 5 }, { maxInFlight: 1 });
  bench.scheduler.add(input(1, prompt(8)));
  while (bench.scheduler.counters().running + bench.scheduler.counters().waiting > 0 && step(bench, 0).numIds[0] !== 1);
  bench.scheduler.abort(1);
  bench.scheduler.add(input(2, prompt(8), { sampling: { numPromptLogprobs: 0 } }));
  const one = step(bench, 0);
  assert.deepEqual([one.numIds[0], one.promptPosition[0], one.numPrompt[0], one.promptOutputStart[0]], [0, 1, 5, 0]);
  const two = step(bench, 0);
  assert.deepEqual([two.numIds[0], two.promptPosition[0], two.numPrompt[0], two.promptOutputStart[0]], [1, 6, 2, 0]);
  assert.equal(two.outputStart[0], 2, 'the id that was sampled stands last');
});

test('an aborted sequence is in no later plan; its row and blocks are given away when its last step is back', () => {
  const bench = start({ maxRows: 1, maxSeqLen: 20, numBlocks: 5 });
  bench.scheduler.add(input(1, prompt(12)));
  const one = bench.scheduler.schedule()!;
  bench.scheduler.abort(1);
  bench.scheduler.abort(77);
  bench.scheduler.add(input(2, prompt(12, 200)));
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [], 'the only row is still read');
  assert.equal(answer(bench, one, 0).numEntries, 0);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [[2, 0, 12, first]]);
});

/** Two sequences of 7 tokens fill a pool of 6 blocks when they have come to 12, and the next token of the first needs a seventh. */
function shortOfMemory(policy: 'fcfs' | 'priority', priorities: [number, number], numSteps: number) {
  const bench = start({ numBlocks: 6, maxSeqLen: 16 }, { policy });
  bench.scheduler.add(input(1, prompt(7), { priority: priorities[0] }));
  bench.scheduler.add(input(2, prompt(7, 200), { priority: priorities[1] }));
  for (let i = 0; i < numSteps; i++) assert.equal(step(bench, 50 + i).numEntries, 2);
  return bench;
}

test('preemption takes the last to come, who resumes with all that it said', () => {
  const bench = shortOfMemory('fcfs', [0, 0], 6);
  const plan = bench.scheduler.schedule()!;
  assert.deepEqual(entries(bench, plan), [[1, 12, 13, entryFlag.sample]]);
  assert.deepEqual([bench.scheduler.counters().preemptions, bench.scheduler.counters().waiting], [1, 1]);
  answer(bench, plan, 60);
  bench.scheduler.abort(1);
  const resumed = bench.scheduler.schedule()!;
  // Two of its blocks are found again, the tail was given to the other.
  assert.deepEqual(entries(bench, resumed), [[2, 8, 13, first]]);
  const row = resumed.rows[0]!;
  const tokens = Array.from(bench.buffers.rows.tokens.subarray(row * 16, row * 16 + 13));
  assert.deepEqual(tokens, [...prompt(7, 200), 50, 51, 52, 53, 54, 55]);
  assert.equal(answer(bench, resumed, 70).cachedTokens[0], 0, 'what is found again after a preemption does not count as cached');
});

test('under priority the worst goes first, even if it came first', () => {
  const bench = shortOfMemory('priority', [5, 0], 6);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [[2, 12, 13, entryFlag.sample]]);
});

test('nobody is preempted for blocks that a fence frees, and nobody is admitted into them', () => {
  const bench = shortOfMemory('fcfs', [0, 0], 4);
  const one = bench.scheduler.schedule()!;
  const two = bench.scheduler.schedule()!;
  answer(bench, one, 54);
  bench.scheduler.abort(2); // in flight in step two: its blocks are coming
  bench.scheduler.add(input(3, prompt(4, 300)));
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [], 'sequence 1 waits for the fence');
  assert.equal(bench.scheduler.counters().preemptions, 0);
  answer(bench, two, 55);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [
    [1, 12, 13, entryFlag.sample],
    [3, 0, 4, first],
  ]);
});

test('a preempted sequence is not resumed before its last step is back, whose id it keeps', () => {
  const bench = start({ numBlocks: 4, maxSeqLen: 16 });
  bench.scheduler.add(input(1, prompt(7), { maxTokens: 2 }));
  bench.scheduler.add(input(2, prompt(7, 200)));
  const one = bench.scheduler.schedule()!;
  const two = bench.scheduler.schedule()!;
  answer(bench, one, 50);
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [], 'the end of 1 is known, and 2 has preempted itself');
  assert.deepEqual(entries(bench, bench.scheduler.schedule()), [], 'it would find its blocks in the cache, but its row is read');
  assert.deepEqual([bench.scheduler.counters().preemptions, bench.scheduler.counters().waiting], [1, 1]);
  const output = answer(bench, two, 51);
  assert.deepEqual([output.numEntries, output.ids[1]], [2, 51]);
  assert.deepEqual(
    entries(bench, bench.scheduler.schedule()).map(([key, , end]) => [key, end]),
    [[2, 9]],
  );
});

test('admission leaves the watermark free, and room for the running to grow into, unless nothing runs', () => {
  const admitted = (numBlocks: number, watermark: number, maxTokens: number) => {
    const bench = start({ numBlocks }, { watermark, maxInFlight: 1 });
    bench.scheduler.add(input(1, prompt(4), { maxTokens }));
    step(bench, 0);
    bench.scheduler.add(input(2, prompt(20, 200), { maxTokens: 1 }));
    return entries(bench, bench.scheduler.schedule()).length === 2;
  };
  // The first has 2 blocks in its second step, the second needs 5.
  assert.ok(admitted(7, 0, 2));
  assert.ok(!admitted(8, 0.25, 2));
  assert.ok(admitted(10, 0.25, 2));
  assert.ok(!admitted(8, 0, 20));
  assert.ok(admitted(9, 0, 20));
  const alone = start({ numBlocks: 8 }, { watermark: 0.25 });
  alone.scheduler.add(input(2, prompt(28, 200), { maxTokens: 4 }));
  assert.deepEqual(entries(alone, alone.scheduler.schedule()), [[2, 0, 16, entryFlag.reset]]);
});

test('one that does not fit is overtaken so often and no more; then it is next', () => {
  const bench = start({ numBlocks: 8, maxRows: 4 }, { maxInFlight: 1 });
  bench.scheduler.add(input(0, prompt(8, 1000), { maxTokens: 20 }));
  step(bench, 0);
  bench.scheduler.add(input(1, prompt(24, 2000), { maxTokens: 1 }));
  for (let i = 0; i < 3 * maxOvertakes; i++) bench.scheduler.add(input(2 + i, [i], { maxTokens: 1 }));
  const admitted: number[] = [];
  while (bench.scheduler.hasWork()) {
    const plan = bench.scheduler.schedule()!;
    for (const [key, , , flags] of entries(bench, plan)) if (flags! & entryFlag.reset) admitted.push(key!);
    answer(bench, plan, 0);
  }
  assert.equal(admitted.indexOf(1), maxOvertakes);
  assert.equal(admitted.length, 3 * maxOvertakes + 1);
});

test('what could never run is refused by name, and changes nothing', () => {
  const { scheduler } = start({ numBlocks: 4, maxSeqLen: 32 });
  const refused = (param: string) => (error: unknown) => error instanceof LockstepError && error.param === param;
  assert.throws(() => scheduler.add(input(1, [])), refused('prompt'));
  assert.throws(() => scheduler.add(input(1, prompt(32), { maxTokens: 1 })), refused('prompt'));
  assert.throws(() => scheduler.add(input(1, prompt(10), { maxTokens: 8 })), refused('max_tokens'));
  assert.throws(() => scheduler.add(input(1, prompt(10), { maxTokens: 1, stopTokenIds: prompt(129) })), refused('stop_token_ids'));
  assert.ok(!scheduler.hasWork());
  scheduler.add(input(1, prompt(10), { maxTokens: 7 }));
});

test('options that cannot be served are refused at start', () => {
  assert.throws(() => start({ maxTokens: 8 }, { chunkedPrefill: false }), /--max-num-batched-tokens is 8/);
  assert.throws(() => start({}, { maxNumSeqs: 5 }), /max_num_seqs must be 1 to 4/);
});

test('a result of another step is not taken', () => {
  const bench = start();
  bench.scheduler.add(input(1, prompt(3)));
  bench.scheduler.schedule();
  bench.buffers.results[1]!.resultHeader[0] = 7;
  assert.throws(() => bench.scheduler.update(bench.buffers.results[1]!), /result of step 7 came, 1 was due/);
});
