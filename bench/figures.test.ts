import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EventStream } from '../src/event-stream.js';
import { arrivalTimes } from './arrivals.js';
import { type CountedResult, figuresOf, percentile, spreadOf } from './figures.js';
import { createRandom } from './random.js';

const result = (startMs: number, ttftMs: number, itlMs: number[], outputLen: number): CountedResult => ({
  error: null,
  startMs,
  ttftMs,
  latencyMs: ttftMs + itlMs.reduce((sum, gap) => sum + gap, 0),
  itlMs,
  text: '',
  promptTokens: 10,
  outputTokens: outputLen,
  inputLen: 10,
  outputLen,
});

describe('figures', () => {
  test('two requests by hand', () => {
    const figures = figuresOf([result(0, 100, [50, 50], 3), result(150, 200, [], 1)], 1, 2, [99], { ttft: 150 });
    assert.equal(figures.completed, 2);
    assert.equal(figures.failed, 1);
    assert.equal(figures.inputTokens, 20);
    assert.equal(figures.outputTokens, 4);
    assert.equal(figures.requestThroughput, 1);
    assert.equal(figures.outputThroughput, 2);
    assert.equal(figures.totalTokenThroughput, 12);
    assert.equal(figures.requestGoodput, 0.5);
    assert.equal(figures.maxConcurrentRequests, 2); // 0 … 200 and 150 … 350
    assert.equal(figures.maxOutputTokensPerS, 4); // events at 100, 150, 200 and 350
    assert.equal(figures.spreads.ttft.mean, 150);
    assert.equal(figures.spreads.ttft.std, 50);
    assert.equal(figures.spreads.tpot.mean, 50); // a single token has no time per output token
    assert.equal(figures.spreads.e2el.median, 200);
    assert.deepEqual(figures.spreads.itl.percentiles, [[99, 50]]);
  });

  test('without objectives there is no goodput, and no request gives zeros', () => {
    assert.equal(figuresOf([result(0, 1, [], 1)], 0, 1, [], {}).requestGoodput, null);
    assert.equal(figuresOf([], 3, 1, [99], {}).spreads.ttft.mean, 0);
  });

  test('percentiles are linear between neighbours', () => {
    assert.equal(percentile([1, 2, 3, 4], 50), 2.5);
    assert.equal(percentile([1, 2, 3, 4], 100), 4);
    assert.equal(spreadOf([4, 1, 3, 2], [25]).percentiles[0]?.[1], 1.75);
  });
});

describe('arrivals', () => {
  for (const burstiness of [0.25, 1, 4]) {
    test(`grow, meet the rate, and vary as burstiness ${burstiness} says`, () => {
      const times = arrivalTimes(4000, 20, burstiness, createRandom(1));
      const gaps = times.map((time, i) => time - (times[i - 1] ?? 0));
      assert.ok(gaps.every((gap) => gap >= 0));
      assert.ok(Math.abs((times.at(-1) ?? 0) - 200) < 1e-9);
      const variance = gaps.reduce((sum, gap) => sum + (gap - 0.05) ** 2, 0) / gaps.length;
      const expected = 0.05 ** 2 / burstiness; // of a gamma distribution with this mean
      assert.ok(Math.abs(variance / expected - 1) < 0.2, `variance ${variance}, expected ${expected}`);
    });
  }

  test('an infinite rate sends all at once; a seed repeats a run', () => {
    assert.deepEqual(arrivalTimes(3, Infinity, 1, createRandom(1)), new Float64Array(3));
    assert.deepEqual(arrivalTimes(9, 5, 1, createRandom(7)), arrivalTimes(9, 5, 1, createRandom(7)));
    assert.notDeepEqual(arrivalTimes(9, 5, 1, createRandom(7)), arrivalTimes(9, 5, 1, createRandom(8)));
  });
});

test('events come whole however their bytes are cut', () => {
  const bytes = Buffer.from(': comment\n\ndata: {"a":"é漢"}\r\n\r\nevent: x\ndata:1\ndata: 2\n\ndata: [DONE]\n\n');
  for (let size = 1; size <= bytes.length; size++) {
    const stream = new EventStream();
    const payloads: string[] = [];
    for (let at = 0; at < bytes.length; at += size) payloads.push(...stream.push(bytes.subarray(at, at + size)));
    assert.deepEqual(payloads, ['{"a":"é漢"}', '1\n2', '[DONE]'], `cut every ${size} bytes`);
  }
});
