/** Quantised checkpoints whose bytes or configuration are not what they should be: one line that names tensor and fault, and nothing else. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadAddon } from '../../src/addon/load.js';
import { LockstepError } from '../../src/errors.js';
import { loadModel } from '../../src/model/load.js';
import { readSafetensorsFolder } from '../../src/model/safetensors.js';
import type { Scaling, WeightMap } from '../../src/model/spec.js';
import { shardOf } from '../../src/parallel/sharding.js';
import { stepBuffers } from '../../src/step/buffers.js';
import { fixtures } from './golden.js';

const models = join(fixtures, 'tiny-models-quantised');
const scratch = mkdtempSync(join(tmpdir(), 'lockstep-quantised-'));
after(() => rmSync(scratch, { recursive: true }));

let copies = 0;
function copyOf(name: string, quantization: object = {}): string {
  const folder = join(scratch, String(copies++));
  cpSync(join(models, name), folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as { quantization_config: object };
  config.quantization_config = { ...config.quantization_config, ...quantization };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

/** Writes int32 values over the beginning of a tensor. */
function overwrite(folder: string, name: string, values: Int32Array): void {
  const path = join(folder, 'model.safetensors');
  const bytes = readFileSync(path);
  const tensor = readSafetensorsFolder(folder).tensors.get(name);
  assert.ok(tensor, name);
  Buffer.from(values.buffer).copy(bytes, tensor.byteOffset);
  writeFileSync(path, bytes);
}

/** What one rank says of the weights; null: it has loaded. */
async function problem(folder: string, dtype: string, change: (weights: WeightMap) => WeightMap = (w) => w): Promise<string | null> {
  const model = await loadModel(folder, { dtype });
  const sizes = { maxRows: 1, maxTokens: 16, maxSeqLen: 32, blockSize: 16, numBlocks: 2 };
  const dims = { ...sizes, maxDrafts: 0, maxLogprobs: 0, worldSize: 1, pooledLen: 0 };
  const buffers = stepBuffers(dims);
  const { spec, computeType: kvCacheType } = model;
  const options = { dims, mode: 'gather', spec, kvCacheType, threadsPerRank: 2, stepTimeoutMs: 1000 } as const;
  const offsets = Float64Array.from(buffers.layout.placements.map((p) => p.byteOffset));
  const addon = loadAddon();
  const group = addon.createGroup(options, new Uint8Array(buffers.shared), offsets);
  const rank = addon.createRank(group, 0);
  try {
    return rank.load(shardOf(spec, 'gather', 0, 1), change(model.weights));
  } finally {
    rank.close();
    addon.destroyGroup(group);
  }
}

const q = 'model.layers.1.self_attn.q_proj';
const gptq = 'gptq-int4-g32-desc_act';

test('act-order that the configuration denies', async () => {
  const folder = copyOf(gptq, { desc_act: false });
  assert.match(
    (await problem(folder, 'bfloat16')) ?? '',
    /^tensor layers\.\d\.\w+ has its columns' groups out of order \(act-order\), but/,
  );
  assert.equal(await problem(folder, 'float32'), null, 'floats are made from the groups as they are');
});

test('groups that are not there', async () => {
  for (const group of [4, -1, 1 << 30]) {
    const folder = copyOf(gptq);
    overwrite(folder, `${q}.g_idx`, Int32Array.of(group));
    for (const dtype of ['bfloat16', 'float32'])
      assert.match(
        (await problem(folder, dtype)) ?? '',
        /^tensor layers\.1\.q has column 0 in a group that is not there: its g_idx is damaged/,
      );
  }
});

test('zero points of a checkpoint that says it is symmetric', async () => {
  const folder = copyOf(gptq, { desc_act: false });
  for (const layer of [0, 1]) {
    for (const module of ['self_attn.q', 'self_attn.k', 'self_attn.v', 'self_attn.o', 'mlp.gate', 'mlp.up', 'mlp.down']) {
      const cols = module === 'mlp.down' ? 256 : 128;
      const order = Int32Array.from({ length: cols }, (_, column) => Math.floor(column / 32));
      overwrite(folder, `model.layers.${layer}.${module}_proj.g_idx`, order);
    }
  }
  assert.equal(await problem(folder, 'bfloat16'), null);
  overwrite(folder, `${q}.qzeros`, Int32Array.of(0x77777775));
  assert.match(
    (await problem(folder, 'bfloat16')) ?? '',
    /^tensor layers\.1\.q has the zero point 6, but by its .* symmetric \(8\); --dtype float32/,
  );
  assert.equal(await problem(folder, 'float32'), null);
});

test('scales that a half cannot hold', async () => {
  const folder = copyOf('awq-int4-g32');
  overwrite(folder, `${q}.scales`, Int32Array.of(0x7c007c00));
  assert.match((await problem(folder, 'bfloat16')) ?? '', /^tensor layers\.1\.q has a scale beyond what a half holds/);
});

test('a place beyond the file, and one that makes no sense', async () => {
  const folder = copyOf('fp8-block128');
  const changed = (scaling: (found: Scaling) => Scaling) => (weights: WeightMap) => ({
    ...weights,
    tensors: weights.tensors.map((t) => (t.name === 'layers.1.up' && t.scaling ? { ...t, scaling: scaling(t.scaling) } : t)),
  });
  const found = (scaling: (found: Scaling) => Scaling) => problem(folder, 'bfloat16', changed(scaling));
  assert.match(
    (await found((s) => ({ ...s, scales: { ...s.scales, byteOffset: 562_086 } }))) ?? '',
    /^tensor layers\.1\.up \(scales\) lies beyond the end of .*model\.safetensors \(562088 bytes\)/,
  );
  assert.match(
    (await found((s) => ({ ...s, layout: 'gptq' }))) ?? '',
    /^tensor layers\.1\.up has zero points or a layout that only u4 and u8 have/,
  );
  assert.match((await found((s) => ({ ...s, zeros: { ...s.scales, type: 'i32' } }))) ?? '', /has zero points or a layout/);
  assert.match((await found((s) => ({ ...s, groupRows: 0 }))) ?? '', /groupRows must be an integer from 1/);
  assert.match((await found((s) => ({ ...s, scales: { ...s.scales, type: 'i64' } }))) ?? '', /has scales that are no floats/);
});

test('a file that ends early, tensors that are missing or of another model', async () => {
  const refused = (folder: string, message: RegExp) =>
    assert.rejects(
      loadModel(folder, { dtype: 'auto' }),
      (error) => error instanceof LockstepError && message.test(error.message) && !error.message.includes('\n'),
    );
  const short = copyOf('awq-int4-g32');
  truncateSync(join(short, 'model.safetensors'), 300_000);
  await refused(short, /model\.safetensors is truncated: its tensors need 438912 bytes, the file has 300000/);
  await refused(
    copyOf('awq-int4-g32', { group_size: 64 }),
    /tensor model\.layers\.0\.\S+\.scales has shape \[4, \d+\], .* asks for \[2, \d+\]/,
  );
  await refused(copyOf('awq-int4-g32', { quant_method: 'gptq' }), /tensor model\.layers\.0\.\S+ has shape|holds a layer of/);
  await refused(copyOf('fp8-block128', { weight_block_size: [64, 64] }), /weight_scale_inv has shape/);
  await refused(copyOf('fp8-block128', { quant_method: 'exl2' }), /weights quantised by exl2 are not supported; supported are gptq, awq/);
});
