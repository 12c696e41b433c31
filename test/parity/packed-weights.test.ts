/** A rank's packed weights through a file: the same bytes come back, and a file that is not what was written is noticed and not used. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { PackedUse } from '../../src/addon/binding.js';
import { loadAddon } from '../../src/addon/load.js';
import { DiskCache } from '../../src/cache/disk-cache.js';
import { loadModel } from '../../src/model/load.js';
import { shardOf } from '../../src/parallel/sharding.js';
import { keepPacked, packedPaths } from '../../src/parallel/weight-cache.js';
import { stepBuffers } from '../../src/step/buffers.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-packed-'));
after(() => rmSync(folder, { recursive: true }));

const fixture = fileURLToPath(new URL('../../../test/fixtures/stories260K', import.meta.url));
const model = await loadModel(fixture, { dtype: 'auto' });
const addon = loadAddon();

interface Loaded {
  readonly packed: PackedUse;
  readonly weightBytes: number;
  save(path: string): Promise<void>;
  close(): void;
}

/** Rank `rank` of `worldSize`, loaded with the packed file at `path`. */
function load(path: string | null, rank = 0, worldSize = 1, threadsPerRank = 2): Loaded {
  const sizes = { maxRows: 4, maxTokens: 16, maxSeqLen: 64, blockSize: 16, numBlocks: 16, maxDrafts: 0, maxLogprobs: 0, pooledLen: 0 };
  const buffers = stepBuffers({ ...sizes, worldSize });
  const { spec, computeType } = model;
  const group = addon.createGroup(
    { dims: buffers.layout.dims, mode: 'gather', spec, kvCacheType: computeType, threadsPerRank, stepTimeoutMs: 5000 },
    new Uint8Array(buffers.shared),
    Float64Array.from(buffers.layout.placements, (p) => p.byteOffset),
  );
  const native = addon.createRank(group, rank);
  assert.equal(native.load(shardOf(spec, 'gather', rank, worldSize), model.weights, path), null);
  return {
    packed: native.packedUse(),
    weightBytes: native.weightBytes(),
    save: (to) => addon.saveWeights(group, rank, to),
    close() {
      native.close();
      addon.destroyGroup(group);
    },
  };
}

/** What a load from `path` holds, as a file. */
async function bytesOf(loaded: Loaded, name: string): Promise<Buffer> {
  const path = join(folder, name);
  await loaded.save(path);
  loaded.close();
  return readFileSync(path);
}

const original = await bytesOf(load(null), 'original');

test('what is read is what was written, with any number of threads', async () => {
  for (const threads of [1, 2, 3]) {
    const loaded = load(join(folder, 'original'), 0, 1, threads);
    assert.deepEqual(loaded.packed, { used: true, problem: null });
    assert.ok((await bytesOf(loaded, `again-${threads}`)).equals(original));
  }
  assert.ok((await bytesOf(load(null, 0, 1, 3), 'packed-by-three')).equals(original), 'packing depends on the number of threads');
});

test('a file that is not there is no problem', () => {
  const loaded = load(join(folder, 'absent'));
  assert.deepEqual(loaded.packed, { used: false, problem: null });
  loaded.close();
});

test('a changed byte, anywhere, is noticed, and the weights are packed as ever', async () => {
  const path = join(folder, 'changed');
  for (const at of [3, 12, 40, original.length - 1, original.length >> 1, (original.length * 2) / 3]) {
    const changed = Buffer.from(original);
    changed[Math.floor(at)]! ^= 1;
    writeFileSync(path, changed);
    const loaded = load(path);
    assert.equal(loaded.packed.used, false);
    assert.match(loaded.packed.problem ?? '', /damaged|not those/, `byte ${at}`);
    assert.ok((await bytesOf(loaded, `mended-${at}`)).equals(original));
  }
});

test('so is a file that was cut off, that is empty, that is of another shard', async () => {
  const path = join(folder, 'short');
  for (const length of [original.length - 1, 100, 0]) {
    writeFileSync(path, original);
    truncateSync(path, length);
    const loaded = load(path);
    assert.equal(loaded.packed.used, false);
    assert.match(loaded.packed.problem ?? '', /it should have \d+ bytes/);
    loaded.close();
  }
  const half = load(join(folder, 'original'), 0, 2);
  assert.match(half.packed.problem ?? '', /it should have/);
  half.close();
});

test('writing where nothing can be written is an error with the reason', async () => {
  const loaded = load(null);
  await assert.rejects(loaded.save(join(folder, 'no-such-folder', 'x')), /No such file/);
  await assert.rejects(loaded.save(join(folder, 'original')), /File exists/);
  loaded.close();
});

test('a start stores what was missing, and the next one finds it', async () => {
  const said: string[] = [];
  const logger = { info: (line: unknown) => said.push(String(line)), warn: (line: unknown) => said.push(String(line)) };
  const cache = new DiskCache({ folder: join(folder, 'cache'), bytesMax: 1e9, logger });
  const path = cache.pathOf('weights', 'x');
  const start = async () => {
    const { packed, weightBytes, save, close } = load(path);
    await keepPacked([{ packed, weightBytes }], [path], cache, (_, to) => save(to), 0).ended;
    close();
    return packed.used;
  };
  assert.deepEqual([await start(), await start()], [false, true]);
  truncateSync(path, 1000);
  assert.deepEqual([await start(), await start()], [false, true]);
  assert.equal(said.length, 1);
  assert.match(said[0]!, /damaged/);
  const stopped = load(null);
  const storing = keepPacked([stopped], [cache.pathOf('weights', 'y')], cache, (_, to) => stopped.save(to), 60_000);
  storing.cancel();
  await storing.ended;
  stopped.close();
});

test('an entry is named by all that decides its bytes; a small model, and one that is only transposed, has none', () => {
  const cache = new DiskCache({ folder, bytesMax: 1e9, logger: { info() {}, warn() {} } });
  const shards = (worldSize: number) => Array.from({ length: worldSize }, (_, rank) => shardOf(model.spec, 'gather', rank, worldSize));
  assert.equal(packedPaths(model, shards(1), cache), null);
  const tensors = model.weights.tensors.map((tensor) => ({ ...tensor, format: 'q4_1' as const, rows: tensor.rows * 4096 }));
  const large = { ...model, weights: { ...model.weights, tensors } };
  const name = packedPaths(large, shards(1), cache)!;
  assert.deepEqual(packedPaths(large, shards(1), cache), name);
  const other = tensors.map((tensor) => ({ ...tensor, format: 'q4_0' as const }));
  const names = [
    ...name,
    ...packedPaths({ ...large, weights: { ...model.weights, tensors: other } }, shards(1), cache)!,
    ...packedPaths(large, shards(2), cache)!,
    ...packedPaths({ ...large, weights: { files: [join(fixture, 'config.json')], tensors } }, shards(1), cache)!,
  ];
  assert.equal(new Set(names).size, 5);
  assert.deepEqual(packedPaths({ ...large, spec: { ...model.spec, maxPositions: 7 } }, shards(1), cache), name);
});
