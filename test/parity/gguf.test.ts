/**
 * GGUF files against the safetensors of the same models: equal specs, equal weights bit for bit in float types, close ones in block
 * types. `scripts/make-gguf-fixtures.py` makes the files of the tiny models; LOCKSTEP_GGUF_FIXTURES says where.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { loadModel } from '../../src/model/load.js';
import type { ElementType, ModelSpec } from '../../src/model/spec.js';
import { sharedData } from './golden.js';
import { dequantise, type Matrix, readWeights } from './read-weights.js';

/** Largest difference, as a share of the matrix's largest value; types that are not here were dequantised by the script, and are equal. */
const tolerance: Readonly<Record<string, number>> = {
  f16: 1e-7,
  q8_0: 0.005,
  q5_0: 0.07,
  q5_1: 0.04,
  q4_0: 0.13,
  q4_1: 0.08,
};

function largestError(a: Matrix, b: Matrix): number {
  let error = 0;
  let largest = 0;
  a.data.forEach((v, i) => {
    error = Math.max(error, Math.abs(v - (b.data[i] as number)));
    largest = Math.max(largest, Math.abs(v));
  });
  return error / largest;
}

/** Names differ by form; tables are float32 in both, but come by another way. */
function comparable(spec: ModelSpec) {
  return {
    ...spec,
    architecture: '',
    ropes: [],
    layers: spec.layers.map((l) => ({ ...l, attention: { ...l.attention, scale: Number(l.attention.scale.toPrecision(6)) } })),
  };
}

async function compare(folder: string, gguf: string, type: string): Promise<void> {
  const options = { dtype: 'float32' };
  const [expected, found] = await Promise.all([loadModel(folder, options), loadModel(gguf, options)]);
  assert.deepEqual(comparable(found.spec), comparable(expected.spec));
  assert.equal(found.spec.ropes.length, expected.spec.ropes.length);
  found.spec.ropes.forEach((rope, r) => {
    assert.equal(rope.rotaryDim, expected.spec.ropes[r]?.rotaryDim);
    assert.ok(Math.abs(rope.attentionFactor - (expected.spec.ropes[r]?.attentionFactor ?? 0)) < 1e-6);
    rope.inverseFrequencies.forEach((f, i) => {
      const want = expected.spec.ropes[r]?.inverseFrequencies[i] ?? 0;
      assert.ok(Math.abs(f - want) <= 3e-7 * want, `rope ${r}, frequency ${i}: ${f}, not ${want}`);
    });
  });
  const [a, b] = [readWeights(expected.weights), readWeights(found.weights)];
  assert.deepEqual([...b.keys()], [...a.keys()]);
  for (const [name, matrix] of a) {
    const error = largestError(matrix, b.get(name) as Matrix);
    // Norms of Gemma pass through w + 1 in float32.
    const allowed = Math.max(tolerance[type] ?? 0, name.endsWith('orm') ? 1e-6 : 0);
    assert.ok(error <= allowed, `${name}: differs by ${error} of its largest value`);
  }
  assert.deepEqual(found.generation.eosTokenIds, expected.generation.eosTokenIds);
  assert.equal(found.chatTemplate, expected.chatTemplate);
}

const noShared = sharedData === null && '../shared is not here';
const data = sharedData ?? '';

for (const type of ['f32', 'f16', 'q8_0']) {
  test(`stories260K ${type}: the GGUF file is the safetensors model`, { skip: noShared }, async () => {
    const folder = join(data, 'stories260K/hf-f32');
    const gguf = join(data, `stories260K/gguf/stories260K-${type}.gguf`);
    if (type === 'f32') await compare(folder, gguf, type);
    else await assert.doesNotReject(loadModel(gguf, { dtype: 'bfloat16' }));
  });
}

const made = process.env.LOCKSTEP_GGUF_FIXTURES ?? resolve('.cache/gguf-fixtures');
const files = existsSync(made) ? readdirSync(made).filter((name) => name.endsWith('.gguf')) : [];
test('GGUF files of the tiny models', {
  skip: noShared || (files.length === 0 && `none in ${made}: scripts/make-gguf-fixtures.py makes them`),
}, async (t) => {
  for (const name of files) {
    const [, model, type] = /^(.*)-([^-]+)\.gguf$/.exec(name) as unknown as [string, string, string];
    const folder = join(model === 'random' ? made : join(data, 'tiny-models'), model === 'random' ? `random-${type}` : model);
    await t.test(name, () => compare(folder, join(made, name), type));
  }
});

const smol = process.env.LOCKSTEP_SMOLLM2_GGUF;
const smolFolder = process.env.LOCKSTEP_SMOLLM2_F32;
test('SmolLM2: the Q4_1 GGUF is the dequantised safetensors model', {
  skip: !(smol && smolFolder) && 'LOCKSTEP_SMOLLM2_GGUF and LOCKSTEP_SMOLLM2_F32 are not set',
}, async () => {
  await compare(smolFolder as string, smol as string, 'f32');
});

interface BlockCase {
  readonly type: string;
  readonly rows: number;
  readonly cols: number;
  readonly raw_b64: string;
  readonly dequantised_f32_b64: string;
}
test('every element type dequantises as the reference does', { skip: noShared }, () => {
  const { cases } = JSON.parse(readFileSync(join(data, 'quant-vectors/gguf_blocks.json'), 'utf8')) as { cases: readonly BlockCase[] };
  const types: readonly ElementType[] = [
    'f32',
    'f16',
    'bf16',
    'q8_0',
    'q4_0',
    'q4_1',
    'q5_0',
    'q5_1',
    'q2_k',
    'q3_k',
    'q4_k',
    'q5_k',
    'q6_k',
    'iq4_nl',
  ];
  for (const type of types) {
    const found = cases.find((c) => c.type.toLowerCase() === type);
    assert.ok(found, type);
    const bytes = Buffer.from(found.dequantised_f32_b64, 'base64');
    const values = dequantise(type, Buffer.from(found.raw_b64, 'base64'), found.rows * found.cols);
    values.forEach((v, i) => {
      const want = bytes.readFloatLE(4 * i);
      assert.ok(Math.abs(v - want) <= 1e-6 * Math.max(Math.abs(want), 1e-3), `${type}: value ${i} is ${v}, not ${want}`);
    });
  }
});
