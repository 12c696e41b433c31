import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QueueBound, queueMemory } from './queue-bound.js';

const lenMax = 120;
const shareOf = (owner: number, weight = 1) => ({ owner, weight });
const createBound = (memory = queueMemory(4)) => new QueueBound(lenMax, memory);

/** A queue of which nobody is let out: how many of each owner get in when all ask for more, in turns, for as long as one does. */
function flood(owners: readonly { readonly owner: number; readonly weight: number }[], bounds = [createBound()]): number[] {
  const held = owners.map(() => 0);
  for (let refused = 0, asked = 0; refused < owners.length; ) {
    refused = 0;
    for (const [i, share] of owners.entries()) {
      try {
        bounds[asked++ % bounds.length]!.enter(share, 1, 0);
        held[i]!++;
      } catch {
        refused++;
      }
    }
  }
  return held;
}

test('one that floods takes half of the queue, two a third each, and there are places left for others', () => {
  assert.deepEqual(flood([shareOf(0)]), [60]);
  assert.deepEqual(flood([shareOf(0), shareOf(1)]), [40, 40]);
  assert.deepEqual(flood([shareOf(0, 3)]), [90]);
  assert.deepEqual(flood([shareOf(0, 0.25)]), [24]);
});

test('threads that share the memory share the bound', () => {
  const memory = queueMemory(2);
  assert.deepEqual(flood([shareOf(0), shareOf(1)], [createBound(memory), createBound(memory), createBound(memory)]), [40, 40]);
});

test('the greedy one is refused, others are not', () => {
  const bound = createBound();
  for (let i = 0; i < 60; i++) bound.enter(shareOf(0), 1, 0);
  assert.throws(() => bound.enter(shareOf(0), 1, 0), { code: 'queue_full', retryAfterSeconds: 1, message: /for this API key: 60 of its/ });
  bound.enter(shareOf(1), 1, 0);
  // Even at the last place, and with the smallest part.
  bound.enter(undefined, 58, 0);
  bound.enter(shareOf(2, 0.001), 1, 0);
  assert.throws(() => bound.enter(shareOf(3), 1, 0), /^LockstepError: The queue is full: 120 sequences wait/);
});

test('what runs is not held against its owner, nor what has gone', () => {
  const bound = createBound();
  for (let i = 0; i < 100; i++) bound.enter(shareOf(0, i === 0 ? 1 : 0.001), 1, i); // all of them are read at once: none waits
  bound.leave(shareOf(0), 30);
  bound.enter(shareOf(0), 1, 90);
  assert.throws(() => bound.enter(shareOf(0), 50, 61), /queue is full for this API key: 40 of/);
  bound.leave(shareOf(0), 71);
  bound.enter(shareOf(0), 80, 61);
});

test('without a share nobody else is in want of places; what was refused or has ended takes none', () => {
  const bound = createBound();
  for (let i = 0; i < lenMax; i++) bound.enter(undefined, 1, 0);
  for (let i = 0; i < 3; i++) assert.throws(() => bound.enter(undefined, 1, 0), { code: 'queue_full', message: /: 120 sequences/ });
  bound.end(1);
  bound.enter(undefined, 1, 0);
});
