/**
 * A request's tokens and log-probabilities are bitwise the same alone and in a batch, whole and in chunks, from a cold and a warm
 * prefix cache, with and without planning ahead, on 1 to 4 ranks. Through the whole engine, with the bundled model.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { type Answer, type Ask, ask, packageRoot, promptOf, start } from './engine.js';

const models = {
  'the bundled model (bf16)': ['models/guide', 1024],
  'the bundled model (bf16, KV cache in int8)': ['models/guide', 1024, '--kv-cache-dtype', 'int8'],
  'the bundled model (int8)': ['models/guide', 1024, '--quantization', 'int8'],
  'a trained Llama (float32)': ['test/fixtures/stories260K', 512],
} as const;
const common = ['--max-num-seqs', '64', '--max-model-len', '256', '--max-num-batched-tokens', '512', '--cpu-threads', '1'];

const asks = (vocab: number): Ask[] =>
  Array.from({ length: 32 }, (_, i) => ({
    prompt: promptOf([1, 5, 16, 17, 33, 64, 100, 150][i % 8] ?? 1, 1 + Math.floor(i / 2), vocab),
    maxTokens: 12,
    // Every second one samples: the noise too is a function of the request alone.
    sampling: i % 2 === 0 ? {} : { temperature: 0.9, topP: 0.95, topK: i % 4 === 1 ? 40 : 0, seed: BigInt(i), repetitionPenalty: 1.1 },
  }));

const oneByOne = async ({ client }: OfflineEngine, questions: readonly Ask[]): Promise<Answer[]> => {
  const answers: Answer[] = [];
  for (const question of questions) answers.push(await ask(client, question));
  return answers;
};
const together = ({ client }: OfflineEngine, questions: readonly Ask[]) => Promise.all(questions.map((question) => ask(client, question)));

function assertSame(answers: readonly Answer[], expected: readonly Answer[], how: string): void {
  answers.forEach((answer, i) => {
    assert.equal(answer.choices[0]?.end?.finishReason, 'length');
    assert.deepEqual(answer.choices[0]?.ids, expected[i]?.choices[0]?.ids, `ids of request ${i}, ${how}`);
    assert.deepEqual(answer.choices[0]?.logprobBits, expected[i]?.choices[0]?.logprobBits, `log-probabilities of request ${i}, ${how}`);
  });
}

for (const [name, [folder, vocab, ...more]] of Object.entries(models)) {
  describe(`sameness: ${name}`, () => {
    const model = join(packageRoot, folder);
    const dtype = folder === 'models/guide' ? 'bfloat16' : 'float32';
    const questions = asks(vocab);
    let alone: Answer[];

    const withEngine = async (flags: readonly string[], run: (engine: OfflineEngine) => Promise<void>) => {
      const engine = await start('--model', model, '--dtype', dtype, ...more, ...common, ...flags);
      try {
        await run(engine);
      } finally {
        await engine.stop();
      }
    };

    before(async () => {
      await withEngine(['--no-enable-prefix-caching'], async (engine) => {
        alone = await oneByOne(engine, questions);
      });
    });
    after(() => assert.equal(alone.length, questions.length));

    test('in a batch of 32, then again from a warm prefix cache', () =>
      withEngine([], async (engine) => {
        assertSame(await together(engine, questions), alone, 'in a batch');
        const again = await together(engine, questions);
        assertSame(again, alone, 'from a warm cache');
        assert.ok(
          again.some(({ facts }) => (facts?.cachedTokens ?? 0) > 0),
          'nothing came from the cache',
        );
      }));

    for (const chunk of ['7', '64']) {
      test(`prompts in chunks of ${chunk}`, () =>
        withEngine(['--long-prefill-token-threshold', chunk], async (engine) => {
          assertSame(await together(engine, questions), alone, `in chunks of ${chunk}`);
        }));
    }

    test('planned after each result', () =>
      withEngine(['--no-async-scheduling'], async (engine) => assertSame(await together(engine, questions), alone, 'not ahead')));

    for (const ranks of ['2', '3', '4']) {
      test(`on ${ranks} ranks`, () =>
        withEngine(['-tp', ranks], async (engine) => assertSame(await together(engine, questions), alone, `on ${ranks} ranks`)));
    }

    test('with two threads a rank', () =>
      withEngine(['--cpu-threads', '2'], async (engine) => assertSame(await together(engine, questions), alone, 'with two threads')));
  });
}
