import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsOf } from './events.js';
import {
  type EngineReading,
  hitsOf,
  percentOf,
  quantileOf,
  rateOf,
  shortBytes,
  shortNumber,
  shortSeconds,
  stepTimesOf,
} from './figures.js';

const reading = (clock_ms: number, counters: object, phase_times_us: object = {}) =>
  ({ clock_ms, counters, phase_times_us, ranks: { count: 2 } }) as unknown as EngineReading;

test('rates, hits and step times are of what lies between two readings', () => {
  const before = reading(1000, { generation_tokens: 10, prefix_cache_queries: 5, prefix_cache_hits: 5, steps: 4 }, { total: [40, 80] });
  const now = reading(3000, { generation_tokens: 50, prefix_cache_queries: 25, prefix_cache_hits: 10, steps: 8 }, { total: [80, 100] });
  assert.equal(rateOf('generation_tokens', before, now), 20);
  assert.equal(rateOf('generation_tokens', now, now), 0);
  assert.equal(hitsOf(before, now), 0.25);
  assert.equal(hitsOf(now, now), null);
  assert.deepEqual(stepTimesOf(before, now), [{ total: 10 }, { total: 5 }]);
  assert.equal(stepTimesOf(now, now), null);
});

test('quantiles of a histogram', () => {
  const bounds = [1, 2, 4];
  const none = { bounds, counts: [0, 0, 0, 0], sum: 0 };
  assert.equal(quantileOf(0.5, none, none), null);
  assert.equal(quantileOf(0.5, none, { bounds, counts: [0, 10, 0, 0], sum: 15 }), 1.5);
  assert.equal(quantileOf(0.95, none, { bounds, counts: [5, 0, 5, 0], sum: 15 }), 3.8);
  assert.equal(quantileOf(0.5, none, { bounds, counts: [0, 0, 0, 3], sum: 99 }), 4);
  const before = { bounds, counts: [100, 0, 0, 0], sum: 50 };
  assert.equal(quantileOf(0.5, before, { bounds, counts: [100, 2, 0, 0], sum: 53 }), 1.5);
});

test('numbers for people', () => {
  assert.deepEqual([0, 0.123, 4.567, 78.91, 1234.5].map(shortNumber), ['0', '0.12', '4.57', '78.9', '1,235']);
  assert.deepEqual([0, 1023, 1024, 1.5 * 2 ** 30].map(shortBytes), ['0 B', '1,023 B', '1 KiB', '1.5 GiB']);
  assert.deepEqual([2, 0.0123, 0.000004].map(shortSeconds), ['2 s', '12.3 ms', '4 µs']);
  assert.deepEqual([1, 0.834, 0.0414, 0.0001, 0].map(percentOf), ['100 %', '83 %', '4.1 %', '< 0.1 %', '0 %']);
});

test('events arrive in pieces of any size, with comments between', async () => {
  const bytes = new TextEncoder().encode(': ping\n\ndata: {"a":"ü"}\r\n\r\ndata:[DONE]\n\n');
  for (const size of [1, 2, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));
    const found: string[] = [];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        controller.close();
      },
    });
    for await (const data of eventsOf(body)) found.push(data);
    assert.deepEqual(found, ['{"a":"ü"}', '[DONE]'], `pieces of ${size}`);
  }
});
