import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { loadModel } from '../model/load.js';
import { kvBytesPerToken, type LoadedModel } from '../model/spec.js';
import { type MemoryPlace, type SizingOptions, sizeSteps } from './sizing.js';

const mebibyte = 2 ** 20;
const weights = 5 * mebibyte;
const options: SizingOptions = {
  maxModelLen: null,
  maxNumSeqs: 256,
  maxNumBatchedTokens: null,
  blockSize: 16,
  kvCacheMemoryBytes: null,
  numBlocks: null,
  memoryUtilization: null,
  onGpus: false,
  maxLogprobs: 20,
  worldSize: 1,
  chunkedPrefill: true,
  maxDrafts: 0,
  pools: false,
};

let model: LoadedModel;
before(async () => {
  model = await loadModel('models/guide', { dtype: 'auto' });
});

const memory = (free: number, total = 2 ** 40): MemoryPlace => {
  const kv = kvBytesPerToken(model.spec, 'bfloat16');
  return { name: 'memory', total, free, weights, reserve: 150 * mebibyte, kvBytesPerToken: kv };
};
const refusal = (freeBytes: number, changes: Partial<SizingOptions>, message: RegExp) =>
  assert.throws(
    () => sizeSteps(model, [memory(freeBytes)], { ...options, ...changes }),
    (error) => error instanceof LockstepError && error.code === 'start' && message.test(error.message),
  );

test('the KV cache is what all sequences need, or half of what is left beside the weights', () => {
  const { numBlocks, maxSeqLen } = sizeSteps(model, [memory(2 ** 36)], options);
  assert.equal(maxSeqLen, model.spec.maxPositions);
  assert.equal(numBlocks, (maxSeqLen / 16) * 256);
  // Of 350 MiB beside the weights 150 are the process's own.
  const little = sizeSteps(model, [memory(weights + 350 * mebibyte)], options);
  assert.equal(little.numBlocks, Math.floor((100 * mebibyte) / (16 * kvBytesPerToken(model.spec, 'bfloat16'))));
});

test('too little memory: for the weights, for the cache that is asked for, for one sequence, for one token', () => {
  refusal(100 * mebibyte, {}, /^the weights take 5\.0 MiB and 100\.0 MiB of memory are free; use a smaller or a quantised model$/);
  refusal(weights + 160 * mebibyte, { kvCacheMemoryBytes: 2 ** 30 }, /^--kv-cache-memory-bytes asks for 1\.0 GiB; beside the weights/);
  refusal(
    2 ** 36,
    { kvCacheMemoryBytes: mebibyte },
    /holds \d+ tokens, and one sequence may have 1024 .* set --max-model-len \d+ or less, or raise/,
  );
  refusal(2 ** 36, { kvCacheMemoryBytes: 100 }, /^the KV cache of 100 bytes holds 0 tokens, .*: raise --kv-cache-memory-bytes$/);
});

test('a part of all memory, or so many blocks; and the longest sequence that fits', () => {
  const gibibyte = 2 ** 30;
  const sized = (changes: Partial<SizingOptions>, free = 8 * gibibyte) =>
    sizeSteps(model, [memory(free, 16 * gibibyte)], { ...options, ...changes });
  const blockBytes = 16 * kvBytesPerToken(model.spec, 'bfloat16');
  const besideWeights = (bytes: number) => Math.floor((bytes - weights - 150 * mebibyte) / blockBytes);
  assert.equal(sized({ memoryUtilization: 0.25 }).numBlocks, besideWeights(4 * gibibyte));
  assert.equal(sized({ memoryUtilization: 0.75 }).numBlocks, besideWeights(8 * gibibyte), 'never more than is free');
  assert.equal(sized({ memoryUtilization: 0.01, kvCacheMemoryBytes: gibibyte }).numBlocks, Math.floor(gibibyte / blockBytes));
  assert.equal(sized({ numBlocks: 100 }).numBlocks, 100);
  assert.equal(sized({ maxModelLen: 'auto' }).maxSeqLen, model.spec.maxPositions);
  assert.equal(sized({ maxModelLen: 'auto', numBlocks: 3 }).maxSeqLen, 48);
  refusal(gibibyte, { numBlocks: 1e6 }, /^--num-gpu-blocks-override asks for .*; beside the weights 869\.0 MiB are free$/);
  refusal(2 ** 36, { numBlocks: 3 }, /holds 48 tokens, and one sequence may have 1024/);
  assert.throws(() => sizeSteps(model, [memory(gibibyte, gibibyte)], { ...options, memoryUtilization: 0.1 }), /theirs \(--gpu/);
});

test('GPUs: what the poorest of them holds, of 0.92 of their memory, and what would fit where it is too little', () => {
  const gibibyte = 2 ** 30;
  const gpu = (rank: number, changes: Partial<MemoryPlace> = {}): MemoryPlace => ({
    ...{ name: `GPU ${rank}`, total: 80 * gibibyte, free: 79 * gibibyte, weights: 20 * gibibyte },
    ...{ reserve: gibibyte, kvBytesPerToken: 4096 },
    ...changes,
  });
  const sized = (places: MemoryPlace[], changes: Partial<SizingOptions> = {}) =>
    sizeSteps(model, places, { ...options, onGpus: true, worldSize: places.length, ...changes });
  const blockBytes = 16 * 4096;
  const all = Math.floor((80 * 0.92 * gibibyte - 21 * gibibyte) / blockBytes);
  assert.equal(sized([gpu(0)]).numBlocks, all);
  assert.equal(sized([gpu(0)]).maxTokens, 2048);
  assert.equal(sized([gpu(0), gpu(1, { free: 22 * gibibyte })]).numBlocks, gibibyte / blockBytes, 'somebody else has the rest');
  assert.equal(sized([gpu(0), gpu(1, { kvBytesPerToken: 8192 })], { kvCacheMemoryBytes: gibibyte }).numBlocks, gibibyte / (2 * blockBytes));
  assert.equal(sized([gpu(0), gpu(1, { kvBytesPerToken: 0, weights: 60 * gibibyte })]).numBlocks, all, 'a rank without heads');
  const refused = (places: MemoryPlace[], changes: Partial<SizingOptions>, message: RegExp) =>
    assert.throws(
      () => sized(places, changes),
      (error) => error instanceof LockstepError && error.code === 'start' && message.test(error.message),
    );
  refused(
    [gpu(0), gpu(1, { free: 20 * gibibyte })],
    {},
    /^the weights take 20\.0 GiB and 20\.0 GiB of GPU 1 are free; with the 1\.0 GiB of a step they do not fit: use more GPUs/,
  );
  refused([gpu(0)], { memoryUtilization: 0.1 }, /8\.0 GiB of GPU 0 are theirs \(--gpu-memory-utilization\)/);
  refused(
    [gpu(0)],
    { kvCacheMemoryBytes: 70 * gibibyte },
    /^--kv-cache-memory-bytes asks for 70\.0 GiB; beside the weights 58\.0 GiB are free on GPU 0$/,
  );
  refused(
    [gpu(0), gpu(1, { free: 21 * gibibyte + 3 * blockBytes })],
    {},
    /of GPU 1 holds 48 tokens, and one sequence may have 1024 .*: set --max-model-len 48 or less, or raise --gpu-memory-utilization$/,
  );
});
