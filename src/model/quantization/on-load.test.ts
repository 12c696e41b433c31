import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel } from '../load.js';
import { onLoadOf } from './checkpoint-config.js';

const stories = join(process.cwd(), 'test/fixtures/stories260K');
const formatsOf = async (quantization: string) => {
  const { weights, notes } = await loadModel(stories, { dtype: 'auto', quantization });
  return { notes, format: (name: string) => weights.tensors.find((tensor) => tensor.name === name)?.format };
};

test('--quantization int8 and int4: embedding and head at 8 bits, vectors as they were, no part of a group', async () => {
  const int8 = await formatsOf('int8');
  assert.deepEqual(['embed', 'layers.0.q', 'layers.0.gate', 'layers.0.attnNorm'].map(int8.format), ['q8_0', 'q8_0', 'q8_0', 'f32']);
  assert.equal(int8.format('layers.0.down'), 'bf16', 'rows of 172');
  assert.deepEqual(int8.notes, ['--quantization int8: 31 matrices as q8_0, 5 matrices as bf16']);
  const int4 = await formatsOf('int4');
  assert.deepEqual(['embed', 'layers.0.q', 'layers.0.gate', 'layers.0.down'].map(int4.format), ['q8_0', 'q4_1', 'q4_1', 'bf16']);
});

test('what --quantization may name', () => {
  const gptq = { method: 'gptq', summary: 'GPTQ, 4 bits in groups of 128' };
  assert.equal(onLoadOf(null, gptq, 'float32'), null);
  assert.equal(onLoadOf('int4', null, 'bfloat16'), 'int4');
  assert.equal(onLoadOf('gptq', gptq, 'bfloat16'), null);
  assert.equal(onLoadOf('gptq_marlin', gptq, 'float32'), null);
  const refused = (flag: string, found: typeof gptq | null, message: RegExp, type: 'bfloat16' | 'float32' = 'bfloat16') =>
    assert.throws(() => onLoadOf(flag, found, type), { code: 'start', param: 'quantization', message });
  refused('int8', gptq, /int8: the checkpoint is quantised already \(GPTQ, 4 bits in groups of 128\)/);
  refused('int8', null, /multiplied in bfloat16 only; leave out --dtype float32/, 'float32');
  refused('awq', gptq, /awq: the checkpoint is not that but GPTQ, 4 bits/);
  refused('fp8', null, /fp8: the checkpoint has float weights; int8 and int4 quantise them on load/);
  refused('bitsandbytes', null, /bitsandbytes: there is no such method; int8 and int4 quantise on load, and gptq, awq/);
});
