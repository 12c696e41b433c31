import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SequenceQueue } from './queue.js';
import { Sequence } from './sequence.js';
import { sequenceInput } from './test-inputs.js';

const sequence = (arrival: number, priority: number) => new Sequence(sequenceInput(arrival, [1]), arrival, priority, 10);
const order = (queue: SequenceQueue) => Array.from({ length: queue.length }, (_, i) => queue.at(i).arrival);

test('lower priority first, ties by arrival, wherever they are inserted', () => {
  const queue = new SequenceQueue();
  for (const [arrival, priority] of [
    [4, 0],
    [1, 0],
    [5, -1],
    [2, 1],
    [3, 0],
  ] as const) {
    queue.insert(sequence(arrival, priority));
  }
  assert.deepEqual(order(queue), [5, 1, 3, 4, 2]);
});

test('removal finds its sequence, and says so when it is not there', () => {
  const queue = new SequenceQueue();
  const all = [0, 1, 2].map((arrival) => sequence(arrival, 0));
  for (const seq of all) queue.insert(seq);
  queue.remove(all[1]!);
  assert.deepEqual(order(queue), [0, 2]);
  assert.throws(() => queue.remove(all[1]!), /not in the queue/);
});
