import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Config } from './config.js';
import { type RopeInput, ropeSpec, ropeType } from './rope.js';

function rope(scaling: object | null, change: Partial<RopeInput> = {}) {
  return ropeSpec({
    headDim: 8,
    theta: 10_000,
    partialFactor: 1,
    scaling: scaling && new Config('config.json', scaling as Record<string, unknown>),
    maxPositions: 4096,
    originalMaxPositions: null,
    servedLen: 4096,
    ...change,
  });
}
const close = (found: readonly number[], expected: readonly number[]) => {
  assert.equal(found.length, expected.length);
  found.forEach((f, i) => {
    assert.ok(Math.abs(f - (expected[i] as number)) <= 1e-6 * (expected[i] as number), `${found} against ${expected}`);
  });
};

test('without scaling: theta to the power of -2i/d', () => {
  close(rope(null).inverseFrequencies, [1, 0.1, 0.01, 0.001]);
  close(rope({ rope_type: 'default', rope_theta: 7 }).inverseFrequencies, [1, 0.1, 0.01, 0.001]);
  assert.equal(rope(null).attentionFactor, 1);
});

test('part of a head turns', () => {
  const { rotaryDim, inverseFrequencies } = rope(null, { partialFactor: 0.5 });
  assert.equal(rotaryDim, 4);
  close(inverseFrequencies, [1, 0.01]);
  assert.throws(() => rope(null, { partialFactor: 0.4 }), /over 3 of 8/);
  assert.throws(() => rope(null, { partialFactor: 1.5 }), /over 12 of 8/);
});

test('linear divides every frequency', () => {
  close(rope({ type: 'linear', factor: 4 }).inverseFrequencies, [0.25, 0.025, 0.0025, 0.00025]);
  assert.throws(() => rope({ type: 'linear', factor: 0 }), /factor is 0; expected a number above 0/);
});

test('llama3 slows long waves and keeps short ones', () => {
  // 64 positions are 10.2, 1.02, 0.102 and 0.0102 turns: kept, on the ramp, slowed, slowed.
  const scaling = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };
  const smooth = ((64 * 0.1) / (2 * Math.PI) - 1) / 3;
  close(rope(scaling).inverseFrequencies, [1, 0.1 * ((1 - smooth) / 8 + smooth), 0.01 / 8, 0.001 / 8]);
  assert.throws(() => rope({ ...scaling, high_freq_factor: 1 }), /above low_freq_factor/);
});

test('yarn: a ramp between kept and slowed, and a temperature', () => {
  const scaling = { type: 'yarn', factor: 4, original_max_position_embeddings: 1024 };
  // Pairs from floor(d ln(1024/(32·2π)) / (2 ln θ)) = 0 to ceil(d ln(1024/2π) / (2 ln θ)) = 3.
  close(
    rope(scaling).inverseFrequencies,
    [0, 1, 2, 3].map((i) => 10 ** -i * ((i / 3) * 0.25 + (1 - i / 3))),
  );
  assert.equal(rope(scaling).attentionFactor, 0.1 * Math.log(4) + 1);
  assert.equal(rope({ ...scaling, attention_factor: 1.5 }).attentionFactor, 1.5);
  assert.equal(rope({ ...scaling, mscale: 1, mscale_all_dim: 1 }).attentionFactor, 1);
  assert.equal(rope({ type: 'yarn', original_max_position_embeddings: 1024 }).attentionFactor, 0.1 * Math.log(4) + 1);
});

test('longrope takes one table for all, by the longest sequence that is served', () => {
  const scaling = { type: 'su', short_factor: [1, 1, 2, 2], long_factor: [1, 2, 4, 8] };
  const at = (servedLen: number) => rope(scaling, { originalMaxPositions: 1024, servedLen });
  close(at(1024).inverseFrequencies, [1, 0.1, 0.005, 0.0005]);
  close(at(1025).inverseFrequencies, [1, 0.05, 0.0025, 0.000125]);
  assert.equal(at(1024).attentionFactor, Math.sqrt(1 + Math.log(4) / Math.log(1024)));
  assert.throws(() => rope(scaling), /original_max_position_embeddings is missing/);
  assert.throws(() => rope({ ...scaling, long_factor: [1, 2] }, { originalMaxPositions: 8 }), /must hold 4 numbers above 0.*it holds 2/);
});

test('what cannot be honoured is refused by name', () => {
  assert.throws(() => rope({ rope_type: 'dynamic', factor: 2 }), {
    code: 'start',
    message: /dynamic is not supported: its frequencies change/,
  });
  assert.throws(() => rope({ rope_type: 'spiral' }), /"spiral" is not supported; supported are default, linear, llama3, yarn, longrope/);
  assert.throws(() => rope({ rope_type: 'yarn', factor: 4, llama_4_scaling_beta: 0.1 }), /llama_4_scaling_beta is not supported/);
  assert.equal(ropeType(new Config('', { type: 'su' })), 'longrope');
});
