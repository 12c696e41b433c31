/** A bound on reasoning: its end comes after so many tokens, once, and all else is as it would be; greedy and drawn, with drafts and without. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { grammarVocabulary } from '../../src/grammar/vocabulary.js';
import { ask, packageRoot, promptOf, requestOf, start } from './engine.js';

const endId = 77;
const flags = ['--dtype', 'float32', '--max-num-seqs', '8', '--max-model-len', '256', '--cpu-threads', '1'];
const drafts = ['--speculative-config', '{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 1, "adaptive": false}'];

/** An end that is a text: forced as its tokens, and known where the model writes it by itself, in whatever tokens. */
async function checkText(engine: Awaited<ReturnType<typeof start>>, prompt: number[]): Promise<void> {
  const { client, tokenizer } = engine;
  const vocabulary = grammarVocabulary(tokenizer, [], tokenizer.vocabSize).tokens;
  const outputOf = async (budget: number, end: string, phrase = end) => {
    const ids = [...(await tokenizer.encode(phrase, { addSpecialTokens: false }))];
    const thinking = { budget, begin: null, end: Buffer.from(end), forced: ids };
    const question = { prompt, maxTokens: 40, sampling: { temperature: 0, thinking } };
    const { choices } = await ask(client, question, { ...requestOf(question), vocabulary });
    return { ids, output: choices[0]!.ids };
  };
  const { output: free } = await outputOf(40, '</think>');
  const forced = await outputOf(7, '</think>');
  assert.ok(forced.ids.length > 1);
  assert.deepEqual(forced.output.slice(0, 7), free.slice(0, 7));
  assert.deepEqual(forced.output.slice(7, 7 + forced.ids.length), forced.ids);
  const text = tokenizer.decode(forced.output, { skipSpecialTokens: false });
  assert.equal(text.split('</think>').length, 2, 'once');
  const phrase = await outputOf(7, '</think>', ' Enough.</think> So:');
  assert.deepEqual(phrase.output.slice(7, 7 + phrase.ids.length), phrase.ids, 'all of it, behind the end too');
  // What the model says anyway, from within a token to within another: behind it nothing is forced.
  const said = tokenizer.decode(free.slice(0, 5), { skipSpecialTokens: false });
  assert.deepEqual((await outputOf(6, said.slice(2, -1))).output, free);
}

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
        const thinking = budget === null ? null : { budget, begin: beginId, end: endId, forced: [endId] };
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
      await checkText(engine, prompt);
    } finally {
      await engine.stop();
    }
  });
}
