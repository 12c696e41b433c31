import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockPool } from './block-pool.js';
import { emptyPrefix, PrefixCache } from './prefix-cache.js';

const end = (pool: BlockPool, block: number) => {
  pool.retire(block);
  pool.release(block);
};

test('blocks are taken in order, and one that nobody can find again goes out first', () => {
  const pool = new BlockPool(3, null);
  assert.deepEqual([pool.allocate(), pool.allocate()], [0, 1]);
  end(pool, 0);
  assert.deepEqual(pool.freeBlocks(), [0, 2]);
});

test('a cached block is evicted last, least recently used first, and can be had back before', () => {
  const cache = new PrefixCache(4, 1);
  const pool = new BlockPool(4, cache);
  const [a, b] = [pool.allocate(), pool.allocate()];
  cache.register(a, emptyPrefix, null, Int32Array.of(7), 0);
  cache.register(b, emptyPrefix, null, Int32Array.of(8), 0);
  end(pool, a);
  end(pool, b);
  assert.deepEqual(pool.freeBlocks(), [2, 3, a, b]);
  pool.share(a);
  assert.deepEqual(pool.freeBlocks(), [2, 3, b]);
  assert.equal(cache.find(emptyPrefix, null, Int32Array.of(8), 0), b);
  for (let i = 0; i < 3; i++) pool.allocate();
  assert.equal(cache.find(emptyPrefix, null, Int32Array.of(8), 0), -1, 'what an evicted block held is forgotten');
  assert.equal(cache.find(emptyPrefix, null, Int32Array.of(7), 0), a);
});

test('a block is coming when all its references are retired, and not any more when it is shared anew', () => {
  const pool = new BlockPool(2, null);
  const block = pool.allocate();
  pool.share(block);
  pool.retire(block);
  assert.equal(pool.numComing, 0);
  pool.retire(block);
  assert.equal(pool.numComing, 1);
  pool.share(block);
  assert.equal(pool.numComing, 0);
  pool.release(block);
  pool.release(block);
  assert.deepEqual([pool.numFree, pool.refCount(block)], [1, 1]);
});

test('no reference ends that was not retired, and nothing is taken from an empty list', () => {
  const pool = new BlockPool(1, null);
  const block = pool.allocate();
  assert.throws(() => pool.release(block), /no retired reference/);
  assert.throws(() => pool.allocate(), /no free block/);
});
