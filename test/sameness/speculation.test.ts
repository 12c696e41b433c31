/**
 * With drafts a request's tokens and log-probabilities are bitwise those without: greedy and sampled, with penalties, biases, stop ids,
 * minimum lengths and several choices; alone and in a batch, whole and in chunks, from a warm cache, planned ahead and not, on 1 to 4 ranks.
 * The requests are such that many drafts are right: what an answer repeats is in its prompt or its own past.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { type Answer, type Ask, ask, packageRoot, promptOf, start } from './engine.js';

const models = {
  'the bundled model (bf16)': ['models/guide', 1024, 'bfloat16'],
  'a trained Llama (float32)': ['test/fixtures/stories260K', 512, 'float32'],
} as const;
const common = ['--max-num-seqs', '64', '--max-model-len', '384', '--max-num-batched-tokens', '256', '--cpu-threads', '1'];
const drafts = (adaptive: boolean) => [
  '--speculative-config',
  `{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 1, "prompt_lookup_max": 3, "adaptive": ${adaptive}}`,
];
/** Drafts in every step: whether they pay is measured, so an engine that asks may try none on a busy machine. */
const speculative = drafts(false);

/** A prompt that says the same thing again and again, and words that are said whatever the model thinks. */
const asks = (vocab: number): Ask[] =>
  Array.from({ length: 20 }, (_, i) => {
    const phrase = promptOf([3, 8, 20, 31][i % 4]!, i, vocab);
    const words = phrase.slice(0, 3).map((id) => [id, 12] as const);
    const kinds: Partial<Ask>[] = [
      {},
      { sampling: { temperature: 0.7, topP: 0.9, seed: BigInt(i), logitBias: words } },
      { sampling: { repetitionPenalty: 1.05, presencePenalty: 0.2, frequencyPenalty: 0.05, logitBias: words } },
      { sampling: { n: 3, temperature: 0.5, topK: 20, minP: 0.05, seed: BigInt(i), numLogprobs: 0, numPromptLogprobs: 1 } },
      { stop: { ignoreEos: false, eosTokenIds: [phrase[1]!], stopTokenIds: [phrase[2]!], minTokens: 30 }, sampling: { logitBias: words } },
    ];
    return { prompt: [...phrase, ...phrase, ...phrase], maxTokens: 60 + (i % 7), ...kinds[i % kinds.length] };
  });

const oneByOne = async ({ client }: OfflineEngine, questions: readonly Ask[]): Promise<Answer[]> => {
  const answers: Answer[] = [];
  for (const question of questions) answers.push(await ask(client, question));
  return answers;
};
const together = ({ client }: OfflineEngine, questions: readonly Ask[]) => Promise.all(questions.map((question) => ask(client, question)));

for (const [name, [folder, vocab, dtype]] of Object.entries(models)) {
  describe(`speculation: ${name}`, () => {
    const questions = asks(vocab);
    let plain: Answer[];

    const withEngine = async <T>(flags: readonly string[], run: (engine: OfflineEngine) => Promise<T>): Promise<T> => {
      const engine = await start('--model', join(packageRoot, folder), '--dtype', dtype, ...common, ...flags);
      try {
        return await run(engine);
      } finally {
        await engine.stop();
      }
    };
    const assertSame = (answers: readonly Answer[], how: string, without = plain) =>
      answers.forEach((answer, i) => {
        for (const [j, { ids, logprobBits, end }] of answer.choices.entries()) {
          const expected = without[i]!.choices[j]!;
          assert.deepEqual(ids, expected.ids, `ids of request ${i}, choice ${j}, ${how}`);
          assert.deepEqual(logprobBits, expected.logprobBits, `log-probabilities of request ${i}, choice ${j}, ${how}`);
          assert.deepEqual(end, expected.end, `end of request ${i}, choice ${j}, ${how}`);
        }
      });
    /** Some drafts are right, and some wrong. */
    const assertDrafted = ({ client }: OfflineEngine) => {
      const { specDraftTokens, specAcceptedTokens, specAcceptedPerPosition } = client.counters();
      assert.ok(specAcceptedTokens > 0 && specAcceptedTokens < specDraftTokens, `${specAcceptedTokens} of ${specDraftTokens} drafts`);
      assert.equal(
        specAcceptedPerPosition.reduce((a, b) => a + b),
        specAcceptedTokens,
      );
    };

    before(async () => {
      plain = await withEngine(['--no-enable-prefix-caching'], (engine) => oneByOne(engine, questions));
      assert.ok(plain.some(({ choices }) => choices.some(({ end }) => end?.finishReason === 'stop')));
    });

    test('alone', () =>
      withEngine(speculative, async (engine) => {
        assertSame(await oneByOne(engine, questions), 'alone');
        assertDrafted(engine);
      }));

    test('with an int8 KV cache', async () => {
      const int8 = ['--kv-cache-dtype', 'int8'];
      const without = await withEngine(int8, (engine) => together(engine, questions));
      await withEngine([...int8, ...speculative], async (engine) =>
        assertSame(await together(engine, questions), 'with an int8 KV cache', without),
      );
    });

    const variants: [string, string[]][] = [
      ['in a batch', []],
      ['while they pay', drafts(true)],
      ['in chunks', ['--long-prefill-token-threshold', '7']],
      ['planned after each result', ['--no-async-scheduling']],
      ['in little memory', ['--kv-cache-memory-bytes', folder === 'models/guide' ? '4M' : '2M', '--max-model-len', '200']],
      ['on 2 ranks', ['-tp', '2']],
      ['on 3 ranks', ['-tp', '3']],
      ['on 4 ranks', ['-tp', '4']],
    ];
    for (const [how, flags] of variants) {
      test(`${how}, then from a warm cache`, () =>
        withEngine([...speculative, ...flags], async (engine) => {
          assertSame(await together(engine, questions), how);
          assertSame(await together(engine, questions), `${how}, from a warm cache`);
        }));
    }
  });
}
