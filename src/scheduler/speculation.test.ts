import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepPlan, StepResult } from '../step/buffers.js';
import { Acceptance } from './acceptance.js';
import { SequenceQueue } from './queue.js';
import { Sequence } from './sequence.js';
import { Speculation } from './speculation.js';
import { maxTimedRows, StepTimes } from './step-times.js';
import { sequenceInput } from './test-inputs.js';

const maxDrafts = 8;

/** Sequences that decode step after step on a machine of which `stepUs` says how long a step of so many rows takes. */
function decode(count: number, stepUs: (rows: number) => number, chance: (step: number, sequence: number) => number, isAdaptive = true) {
  const speculation = new Speculation({ maxDrafts, lookupMin: 2, lookupMax: 5, isAdaptive });
  const running = new SequenceQueue();
  for (let key = 0; key < count; key++) {
    const seq = new Sequence(sequenceInput(key, [1, 2, 3], { maxTokens: 4000 }), key, 0, 4000);
    seq.append(4); // the first that was sampled
    seq.numScheduled = 3;
    running.insert(seq);
  }
  let state = 1;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const total = { tokens: 0, us: 0, drafts: 0 };
  const column = () => new Int32Array(count);
  let epoch = 0;
  const step = (): number[] => {
    epoch++;
    speculation.plan(running, epoch);
    const planHeader = Int32Array.of(epoch, count, 0, 0);
    const startPosition = new Int32Array(count).fill(-1);
    const [numDrafts, numGuessed, numRight] = [column(), column(), column()];
    let slots = 0;
    for (let i = 0; i < count; i++) {
      numDrafts[i] = running.at(i).numDrafts;
      numGuessed[i] = numDrafts[i]! + 1;
      while (numRight[i]! < numGuessed[i]! && draw() < chance(epoch, i)) numRight[i]!++;
      slots += 1 + numDrafts[i]!;
      total.tokens += 1 + Math.min(numRight[i]!, numDrafts[i]!);
      total.drafts += numDrafts[i]!;
    }
    const us = stepUs(slots);
    total.us += us;
    const resultHeader = Int32Array.of(epoch, 0, slots);
    const result = { resultHeader, numDrafts, numGuessed, numRight, timesUs: Float64Array.of(us) } as unknown as StepResult;
    for (let i = 0; i < count; i++) speculation.learn(running.at(i), result, i);
    speculation.book({ planHeader, startPosition } as unknown as StepPlan, result);
    return [...numDrafts];
  };
  const run = (steps: number) => {
    let last: number[] = [];
    for (let i = 0; i < steps; i++) last = step();
    return last;
  };
  /** Tokens a second, over those of steps without drafts. */
  const speedup = () => total.tokens / total.us / (count / stepUs(count));
  return { speculation, run, speedup, total };
}

const affine = (fixed: number, perRow: number) => (rows: number) => fixed + perRow * rows;

test('a text that repeats itself on a machine whose rows are cheap: as many drafts as allowed', () => {
  const { run, speedup } = decode(1, affine(2000, 100), () => 0.97);
  run(300);
  assert.ok(speedup() > 3.5, `${speedup()}`);
});

test('nothing to gain: no drafts, or as good as none', () => {
  const unpredictable = decode(1, affine(2000, 300), () => 0.05);
  unpredictable.run(2000);
  assert.ok(unpredictable.speedup() > 0.99, `${unpredictable.speedup()}`);
  const dearRows = decode(16, affine(100, 1000), () => 0.9);
  dearRows.run(2000);
  assert.ok(dearRows.speedup() > 0.99, `${dearRows.speedup()}`);
  const many = decode(maxTimedRows, affine(2000, 1), () => 1);
  many.run(50);
  assert.equal(many.total.drafts, 0);
});

test('not adaptive: all drafts in every step, whatever they bring and however many sequences there are', () => {
  const { run } = decode(maxTimedRows + 6, affine(100, 1000), () => 0, false);
  assert.deepEqual(run(30), new Array(maxTimedRows + 6).fill(maxDrafts));
});

test('a text that stops repeating itself: drafts end within some steps, and come back with it', () => {
  const { run } = decode(1, affine(2000, 400), (step) => (step % 400 < 200 ? 0.95 : 0));
  assert.ok(run(190)[0]! > 2);
  assert.equal(run(50)[0], 0);
  assert.ok(run(200)[0]! > 2);
});

test('who guesses well gets drafts, whoever else is in the batch', () => {
  const { run } = decode(4, affine(3000, 300), (_, sequence) => (sequence < 2 ? 0.95 : 0.1));
  run(150);
  const drafts = run(1);
  assert.ok(drafts[0]! > 1 && drafts[1]! > 1, drafts.join());
  assert.deepEqual(drafts.slice(2), [0, 0]);
});

test('chance that looked better than it was costs at most its stake', () => {
  // Right in every other step: what was learnt says nothing of the step that is planned.
  const liar = decode(1, affine(1500, 500), (step) => (step % 2 === 0 ? 1 : 0));
  liar.run(3000);
  assert.ok(liar.speedup() > 0.985, `${liar.speedup()}`);
});

test('times: known rows as they are, others between and beyond them, and never falling', () => {
  const times = new StepTimes();
  assert.equal(times.prepare(100), false);
  for (let i = 0; i < 20; i++) {
    times.observe(1, 100, 1000);
    times.observe(9, 100, 1800);
  }
  assert.ok(times.prepare(100));
  assert.deepEqual(
    [1, 5, 9].map((rows) => times.estimate(rows)),
    [1000, 1400, 1800],
  );
  assert.ok(times.estimate(20) > 3000 && times.estimate(20) < 4000);
  for (let rows = 1; rows < maxTimedRows; rows++) assert.ok(times.estimate(rows + 1) >= times.estimate(rows));
  assert.equal(times.prepare(100_000), false, 'another context is another column');
});

test('times: one disturbed step is bounded, a slower machine is followed, old figures are forgotten', () => {
  const times = new StepTimes();
  for (let i = 0; i < 50; i++) times.observe(1, 100, 1000);
  times.observe(1, 100, 50_000);
  times.prepare(100);
  assert.ok(times.estimate(1) < 1050);
  for (let i = 0; i < 100; i++) times.observe(1, 100, 2000);
  times.prepare(100);
  assert.ok(times.estimate(1) > 1900);
  for (let i = 0; i < 2001; i++) times.observe(2, 100, 2100);
  assert.equal(times.age(1, 100), Number.POSITIVE_INFINITY);
});

test('acceptance: the first guess and those behind a right one are told apart', () => {
  const acceptance = new Acceptance();
  for (let i = 0; i < 100; i++) acceptance.learn(5, i % 2 === 0 ? 0 : 5);
  assert.ok(Math.abs(acceptance.first - 0.5) < 0.1);
  assert.ok(acceptance.next > 0.95);
  for (let i = 0; i < 40; i++) acceptance.learn(1, 0);
  assert.ok(acceptance.first < 0.05);
});
