/**
 * A prompt's pooled hidden states are bitwise the same alone and in a batch, whole and in chunks, from a cold and a warm prefix cache, with
 * and without planning ahead, on 1 to 4 ranks; and they are what one token after the other gives.
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
const common = ['--runner', 'pooling', '--max-num-seqs', '64', '--max-model-len', '256', '--cpu-threads', '1'];

const asks = (vocab: number): Ask[] =>
  Array.from({ length: 24 }, (_, i) => ({
    prompt: promptOf([1, 5, 16, 17, 33, 64, 100, 256][i % 8] ?? 1, 1 + Math.floor(i / 8), vocab),
    maxTokens: 0,
    pooling: { of: (['sum', 'last', 'first'] as const)[i % 3] ?? 'sum', secondSegment: null },
  }));

const pooledOf = ({ choices: [choice] }: Answer): Float32Array => {
  assert.equal(choice?.end?.finishReason, 'length');
  assert.ok(choice?.end?.pooled !== undefined, 'nothing was pooled');
  return choice.end.pooled;
};
const bits = (values: Float32Array) => Buffer.from(values.buffer).toString('hex');
const together = ({ client }: OfflineEngine, questions: readonly Ask[]) => Promise.all(questions.map((question) => ask(client, question)));

for (const [name, [folder, vocab, dtype]] of Object.entries(models)) {
  describe(`pooling: ${name}`, () => {
    const questions = asks(vocab);
    let alone: string[];

    const withEngine = async (flags: readonly string[], run: (engine: OfflineEngine) => Promise<void>) => {
      const engine = await start('--model', join(packageRoot, folder), '--dtype', dtype, ...common, ...flags);
      try {
        await run(engine);
      } finally {
        await engine.stop();
      }
    };
    const assertSame = async (engine: OfflineEngine, how: string): Promise<Answer[]> => {
      const answers = await together(engine, questions);
      for (const [i, answer] of answers.entries()) assert.equal(bits(pooledOf(answer)), alone[i], `request ${i}, ${how}`);
      return answers;
    };

    before(() =>
      withEngine(['--no-enable-prefix-caching'], async ({ client }) => {
        alone = [];
        for (const question of questions) alone.push(bits(pooledOf(await ask(client, question))));
      }),
    );

    test('in a batch, then again from a warm prefix cache, which only the last token may read', () =>
      withEngine([], async (engine) => {
        await assertSame(engine, 'in a batch');
        const again = await assertSame(engine, 'from a warm cache');
        again.forEach(({ facts }, i) => {
          const long = questions[i]!.prompt.length > 16;
          assert.equal((facts?.cachedTokens ?? 0) > 0, long && questions[i]!.pooling?.of === 'last', `request ${i}`);
        });
      }));

    for (const flags of [
      ['--long-prefill-token-threshold', '7'],
      ['--long-prefill-token-threshold', '64'],
      ['--no-async-scheduling'],
      ['-tp', '2'],
      ['-tp', '3', '--long-prefill-token-threshold', '7'],
      ['-tp', '4'],
      ['--cpu-threads', '2'],
      // A few sequences fit, and the others wait.
      ['--kv-cache-memory-bytes', folder === 'models/guide' ? '6M' : '1M'],
    ]) {
      test(flags.join(' '), () => withEngine(flags, async (engine) => void (await assertSame(engine, flags.join(' ')))));
    }

    test('the sum is that of the hidden states one after the other; first and last are two of them', () =>
      withEngine(['--tensor-parallel-size', '2'], async ({ client }) => {
        const prompt = promptOf(21, 9, vocab);
        const pooled = async (of: 'first' | 'last' | 'sum', length: number) =>
          pooledOf(await ask(client, { prompt: prompt.slice(0, length), maxTokens: 0, pooling: { of, secondSegment: null } }));
        let sum = await pooled('last', 1);
        assert.equal(bits(await pooled('first', prompt.length)), bits(sum));
        for (let length = 2; length <= prompt.length; length++) {
          const last = await pooled('last', length);
          sum = sum.map((value, i) => Math.fround(value + last[i]!));
        }
        assert.equal(bits(await pooled('sum', prompt.length)), bits(sum));
      }));
  });
}
