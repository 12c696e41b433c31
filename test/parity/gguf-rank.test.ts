/**
 * GGUF files through the native core. The tiny models in f32 give their goldens; block types give, in float32, the logits of the plain
 * forward pass over the same weights, and in bfloat16 (kept in their bits where a kernel exists) something near them.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { loadModel } from '../../src/model/load.js';
import { readGolden, sharedData } from './golden.js';
import { type Output, type RankSetup, Ranks } from './ranks.js';
import { readWeights } from './read-weights.js';
import { argmax, referenceForward } from './reference-forward.js';

const made = process.env.LOCKSTEP_GGUF_FIXTURES ?? resolve('.cache/gguf-fixtures');
const files = existsSync(made) ? readdirSync(made).filter((name) => name.endsWith('.gguf')) : [];
const skip =
  (sharedData === null && '../shared is not here') || (files.length === 0 && `none in ${made}: scripts/make-gguf-fixtures.py makes them`);

async function generate(setup: RankSetup, prompts: readonly (readonly number[])[], steps: number): Promise<Output[][]> {
  const ranks = await Ranks.start(setup);
  try {
    return await ranks.generate(prompts, steps);
  } finally {
    await ranks.stop();
  }
}

async function checkGoldens(name: string, model: string): Promise<void> {
  // The tables of longrope are chosen by the longest length: short prompts want 48, the long one more.
  const longrope = model.includes('longrope');
  for (const { id, prompt_ids, greedy_ids } of readGolden(join(sharedData ?? '', 'tiny-models', model, 'golden.json')).prompts) {
    const short = longrope && prompt_ids.length < 48;
    const setup: RankSetup = { path: join(made, name), dtype: 'float32', mode: 'reduce', worldSize: 2, ...(short && { maxModelLen: 48 }) };
    const expected = greedy_ids.slice(0, short ? 48 - prompt_ids.length : greedy_ids.length);
    const [outputs] = await generate(setup, [prompt_ids], expected.length);
    assert.deepEqual(
      outputs?.map((output) => output.id),
      expected,
      `${name} ${id}`,
    );
  }
}

const prompt = [1, 403, 407, 261, 378];
async function checkAgainstReference(name: string): Promise<void> {
  const path = join(made, name);
  const model = await loadModel(path, { dtype: 'float32' });
  const [logits] = referenceForward(model.spec, readWeights(model.weights), prompt, true) as [Float64Array];
  const sum = logits.reduce((total, v) => total + Math.exp(v), 0);
  for (const mode of ['gather', 'reduce'] as const) {
    const [[first]] = (await generate({ path, dtype: 'float32', mode, worldSize: 2 }, [prompt], 1)) as [[Output]];
    assert.equal(first.id, argmax(logits));
    for (const [id, logprob] of first.top)
      assert.ok(Math.abs(logprob - ((logits[id] as number) - Math.log(sum))) < 1e-3, `${name}: ${id} ${logprob}`);
  }
  // Random weights amplify rounding: the best of one is among the best of the other, near it, and ranks do not change it.
  const [[one]] = (await generate({ path, dtype: 'bfloat16', mode: 'gather', worldSize: 1 }, [prompt], 4)) as [Output[]];
  const [[three]] = (await generate({ path, dtype: 'bfloat16', mode: 'gather', worldSize: 3 }, [prompt], 4)) as [Output[]];
  const best = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number)).slice(0, 5);
  assert.ok(best.includes(one?.id ?? -1), `${name} in bfloat16: ${one?.id}, not among ${best}`);
  const errors = one?.top.map(([id, logprob]) => Math.abs(logprob - ((logits[id] as number) - Math.log(sum)))) ?? [];
  const mean = errors.reduce((a, b) => a + b, 0) / errors.length;
  assert.ok(mean <= 0.1, `${name} in bfloat16: log-probabilities are off by ${mean} on average`);
  assert.deepEqual(three, one);
}

test('GGUF files of every family and type, natively', { skip }, async (t) => {
  for (const name of files) {
    const [, model, type] = /^(.*)-([^-]+)\.gguf$/.exec(name) as unknown as [string, string, string];
    await t.test(name, () => (type === 'f32' ? checkGoldens(name, model) : checkAgainstReference(name)));
  }
});
