import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { PoolingSpec, StoredMatrix } from '../model/spec.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { cosineSimilarity, createPooler, Pooler } from './pooler.js';

const scratch = mkdtempSync(join(tmpdir(), 'lockstep-pooler-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const embed: PoolingSpec = {
  of: 'last',
  task: 'embed',
  layers: [],
  width: 3,
  activation: 'normalize',
  dimensions: 'any',
  fromTokens: null,
  labels: [],
  lowercase: false,
};
const all = { dimensions: null, activation: null };
const near = (found: Float32Array, expected: readonly number[]) => {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(found[i]! - value) < 1e-6, `${found} and not ${expected}`);
};

test('embeddings: the mean, leading dimensions, then length 1', () => {
  const pooled = Float32Array.of(3, 4, 12);
  near(new Pooler(embed).finish(pooled, 2, all), [3 / 13, 4 / 13, 12 / 13]);
  near(new Pooler(embed).finish(pooled, 2, { dimensions: 2, activation: null }), [0.6, 0.8]);
  near(new Pooler({ ...embed, of: 'mean' }).finish(pooled, 2, { dimensions: null, activation: false }), [1.5, 2, 6]);
  near(new Pooler({ ...embed, activation: 'none' }).finish(pooled, 1, all), [3, 4, 12]);
  near(new Pooler({ ...embed, activation: 'none' }).finish(pooled, 1, { dimensions: 2, activation: true }), [0.6, 0.8]);
  near(new Pooler(embed).finish(Float32Array.of(0, 0), 1, all), [0, 0]);
  assert.throws(() => new Pooler(embed).finish(Float32Array.of(1, Number.NaN, 2), 1, all), /not numbers/);
  assert.deepEqual(new Pooler({ ...embed, of: 'mean' }).request(null), { of: 'sum', secondSegment: null });
  assert.deepEqual(new Pooler({ ...embed, of: 'first' }).request(5), { of: 'first', secondSegment: 5 });
});

test('layers, and scores as probabilities', () => {
  const layers = [
    { outputs: 2, weight: Float32Array.of(1, 0, 0, 1), bias: Float32Array.of(0, 1), activation: 'tanh' },
    { outputs: 3, weight: Float32Array.of(1, 1, 2, 0, 0, 0), bias: null, activation: 'none' },
  ] as const;
  const classify: PoolingSpec = { ...embed, task: 'classify', layers, activation: 'softmax', labels: ['a', 'b', 'c'] };
  const [x, y] = [Math.tanh(0.5), Math.tanh(0.25)];
  const logits = [x + y, 2 * x, 0];
  near(new Pooler(classify).finish(Float32Array.of(0.5, -0.75), 1, { dimensions: null, activation: false }), logits);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  near(
    new Pooler(classify).finish(Float32Array.of(0.5, -0.75), 1, all),
    logits.map((logit) => Math.exp(logit) / total),
  );
  const one: PoolingSpec = { ...classify, layers: [], activation: 'none', labels: ['a'] };
  near(new Pooler(one).finish(Float32Array.of(2), 1, { dimensions: null, activation: true }), [1 / (1 + Math.exp(-2))]);
});

test('a language model as a judge: rows of its head', async () => {
  const path = join(scratch, 'head');
  writeFileSync(path, Float32Array.of(1, 2, 3, 5, 8, 13));
  const head: StoredMatrix = { path, byteOffset: 0, type: 'f32', rows: 3, cols: 2 };
  const words: Readonly<Record<string, number[]>> = { no: [0], yes: [2], maybe: [1, 1], far: [7] };
  const tokenizer = { encode: (text: string) => Int32Array.from(words[text]!) } as unknown as Tokenizer;
  const judge = (tokens: string[], difference: boolean) =>
    createPooler({ ...embed, task: 'classify', activation: 'none', fromTokens: { tokens, difference, head } }, tokenizer);
  near((await judge(['no', 'yes'], true)).finish(Float32Array.of(1, 10), 1, all), [7 + 110]);
  near((await judge(['yes', 'no'], false)).finish(Float32Array.of(1, 10), 1, all), [138, 21]);
  await assert.rejects(judge(['no', 'maybe'], true), /"maybe" is not one token of this model/);
  await assert.rejects(judge(['no', 'far'], true), /"far" is not one token of this model/);
});

test('cosine similarity', () => {
  assert.equal(cosineSimilarity(Float32Array.of(1, 2), Float32Array.of(2, 4)), 1);
  assert.equal(cosineSimilarity(Float32Array.of(1, 0), Float32Array.of(0, 3)), 0);
  assert.equal(cosineSimilarity(Float32Array.of(0, 0), Float32Array.of(0, 3)), 0);
});
