import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBudget } from './budget.js';

const budget = (maxTokens: number, fields: { chunkedPrefill?: boolean; longPrefillThreshold?: number } = {}) => {
  const it = new TokenBudget({ maxTokens, chunkedPrefill: true, longPrefillThreshold: 0, ...fields });
  it.begin();
  return it;
};

test('a chunk is what is left, but for one slot for each of the running behind it', () => {
  assert.equal(budget(10).grant(4, 0), 4);
  assert.equal(budget(10).grant(100, 0), 10);
  assert.equal(budget(10).grant(100, 3), 7);
  assert.equal(budget(10).grant(100, 30), 1, 'it gets on all the same');
  assert.equal(budget(10).grant(1, 30), 1);
});

test('the threshold bounds a chunk, not a decode', () => {
  assert.equal(budget(10, { longPrefillThreshold: 4 }).grant(100, 0), 4);
  assert.equal(budget(10, { longPrefillThreshold: 4 }).grant(1, 0), 1);
});

test('without chunks it is all or nothing', () => {
  const whole = budget(10, { chunkedPrefill: false, longPrefillThreshold: 4 });
  assert.equal(whole.grant(10, 3), 10);
  assert.equal(whole.grant(11, 0), 0);
});
