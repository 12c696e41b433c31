import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyPrefix, PrefixCache } from './prefix-cache.js';

const tokens = Int32Array.of(1, 2, 3, 4, 1, 2, 3, 4);

test('a block is found by its ids after the same prefix only', () => {
  const cache = new PrefixCache(8, 2);
  const first = cache.register(5, emptyPrefix, null, tokens, 0);
  const second = cache.register(6, first, null, tokens, 2);
  assert.equal(cache.find(emptyPrefix, null, tokens, 4), 5);
  assert.equal(cache.find(first, null, tokens, 6), 6);
  assert.equal(cache.find(emptyPrefix, null, tokens, 2), -1, 'the same ids at the start of a prefix');
  assert.equal(cache.find(second, null, tokens, 2), -1, 'the same ids further on');
});

test('a salt keeps equal prompts apart', () => {
  const cache = new PrefixCache(8, 2);
  const plain = cache.register(0, emptyPrefix, null, tokens, 0);
  const salted = cache.register(1, emptyPrefix, 'a', tokens, 0);
  cache.register(2, salted, 'a', tokens, 2);
  assert.equal(cache.find(emptyPrefix, 'a', tokens, 0), 1);
  assert.equal(cache.find(emptyPrefix, 'b', tokens, 0), -1);
  assert.equal(cache.find(emptyPrefix, '', tokens, 0), -1);
  assert.equal(cache.find(plain, null, tokens, 2), -1);
});

test('a block that was evicted and holds something else now is no parent of what followed it', () => {
  const cache = new PrefixCache(8, 2);
  const first = cache.register(0, emptyPrefix, null, tokens, 0);
  cache.register(1, first, null, tokens, 2);
  cache.forget(0);
  const again = cache.register(0, emptyPrefix, null, tokens, 1);
  assert.equal(cache.find(again, null, tokens, 2), -1);
});

test('a name moves to an equal block, and what followed is found through it', () => {
  const cache = new PrefixCache(8, 2);
  const first = cache.register(0, emptyPrefix, 'a', tokens, 0);
  cache.register(1, first, 'a', tokens, 2);
  cache.move(0, 7);
  assert.ok(!cache.holds(0));
  assert.equal(cache.find(emptyPrefix, 'a', tokens, 0), 7);
  assert.equal(cache.find(cache.nameOf(7), 'a', tokens, 2), 1);
});

test('thousands of blocks in few buckets: every one is found, and after half are forgotten the other half', () => {
  const numBlocks = 4096;
  const cache = new PrefixCache(numBlocks, 1);
  const ids = Int32Array.from({ length: numBlocks }, (_, i) => i);
  for (let block = 0; block < numBlocks; block++) cache.register(block, emptyPrefix, null, ids, block);
  for (let block = 0; block < numBlocks; block += 2) cache.forget(block);
  for (let block = 0; block < numBlocks; block++) assert.equal(cache.find(emptyPrefix, null, ids, block), block % 2 === 0 ? -1 : block);
});
