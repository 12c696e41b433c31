/** A bound on reasoning: its end comes after so many tokens, once, and all else is as it would be; greedy and drawn, with drafts and without. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, packageRoot, promptOf, start } from './engine.js';

const endId = 77;
const flags = ['--dtype', 'float32', '--max-num-seqs', '8', '--max-model-len', '256', '--cpu-threads', '1'];
const drafts = ['--speculative-config', '{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 1}'];

for (const [name, more] of [
  ['alone', []],
  ['with drafts', drafts],
] as const) {
  test(`the end of reasoning is forced ${name}`, async () => {
    const engine = await start('--model', join(packageRoot, 'test/fixtures/stories260K'), ...flags, ...more);
    try {
      const phrase = promptOf(12, 3, 512);
      const prompt = [...phrase, ...phrase];
      const outputOf = async (temperature: number, budget: number | null, beginId: number | null = null) => {
        const thinking = budget === null ? null : { budget, beginId, endId };
        const { choices } = await ask(engine.client, { prompt, maxTokens: 24, sampling: { temperature, thinking } });
        return choices[0]!.ids;
      };
      for (const temperature of [0, 0.8]) {
        const free = await outputOf(temperature, null);
        assert.ok(!free.includes(endId), 'the model does not end it by itself');
        for (const budget of [0, 1, 9]) {
          const bounded = await outputOf(temperature, budget);
          assert.deepEqual(bounded.slice(0, budget), free.slice(0, budget));
          assert.equal(bounded.indexOf(endId), budget);
          assert.equal(bounded.lastIndexOf(endId), budget);
          assert.equal(bounded.length, 24);
        }
        assert.equal((await outputOf(temperature, 5, free[0]!)).indexOf(endId), 6, 'behind its beginning');
        assert.deepEqual(await outputOf(temperature, 5, endId - 1), free, 'no reasoning, no end');
      }
    } finally {
      await engine.stop();
    }
  });
}
