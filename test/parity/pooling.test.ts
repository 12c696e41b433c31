/** Embeddings and scores of whole models, through HTTP, against goldens: encoders, and language models that are made to embed and to judge. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { lastLogits, readGolden } from './golden.js';
import { type Json, withServed } from './served.js';

const fixtures = join(process.cwd(), 'test/fixtures');
const encoder = (name: string) => join(fixtures, 'tiny-encoders', name);
const goldenOf = (name: string): Json => JSON.parse(readFileSync(join(encoder(name), 'golden.json'), 'utf8'));
const scratch = mkdtempSync(join(tmpdir(), 'lockstep-pooling-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const near = (found: readonly number[], expected: readonly number[], tolerance: number, what: string) => {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(found[i]! - value) < tolerance, `${what}: ${found[i]} and not ${value}`);
};
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** Bits of vectors that came as JSON numbers. */
const embeddingsOf = (answer: Json): number[][] => answer.data.map(({ embedding }: Json) => embedding);

describe('encoders', () => {
  test('BERT, mean of all tokens: goldens in float32, in any batch and on any number of ranks', async () => {
    const { texts } = goldenOf('bert-mean');
    const input = texts.map(({ text }: Json) => text);
    let expected: number[][] | null = null;
    for (const flags of [
      ['--cpu-threads', '1'],
      ['--cpu-threads', '2'],
      ['-tp', '2'],
      ['-tp', '3'],
      ['-tp', '4'],
    ]) {
      await withServed(['--model', encoder('bert-mean'), '--dtype', 'float32', ...flags], async ({ post }) => {
        const together = embeddingsOf(await post('/v1/embeddings', { input }));
        for (const [i, { text, ids, embedding }] of texts.entries()) {
          near(together[i]!, embedding, 1e-5, `${text}, ${flags}`);
          const alone = await post('/v1/embeddings', { input: i % 2 === 0 ? text : ids });
          assert.deepEqual(embeddingsOf(alone)[0], together[i], `${text} alone, ${flags}`);
          assert.equal(alone.usage.prompt_tokens, ids.length);
        }
        assert.deepEqual(together, (expected ??= together), `bits, ${flags}`);
      });
    }
  });

  test('in reduce mode and in bfloat16 they are near', async () => {
    const { texts } = goldenOf('bert-mean');
    for (const [flags, tolerance] of [
      [['--dtype', 'float32', '-tp', '2', '--tensor-parallel-mode', 'reduce'], 1e-5],
      [['--dtype', 'bfloat16'], 0.03],
    ] as const) {
      await withServed(['--model', encoder('bert-mean'), ...flags], async ({ post }) => {
        const found = embeddingsOf(await post('/v1/embeddings', { input: texts.map(({ text }: Json) => text) }));
        for (const [i, { text, embedding }] of texts.entries()) near(found[i]!, embedding, tolerance, `${text}, ${flags}`);
      });
    }
  });

  test('what is longer than its authors meant is refused, or cut', () =>
    withServed(['--model', encoder('bert-mean'), '--dtype', 'float32'], async ({ post }) => {
      const input = 'river '.repeat(70);
      await assert.rejects(post('/v1/embeddings', { input }), /maximum context length is 60 tokens/);
      const cut = await post('/v1/embeddings', { input, truncate_prompt_tokens: -1 });
      assert.equal(cut.usage.prompt_tokens, 60);
      assert.deepEqual(embeddingsOf(cut), embeddingsOf(await post('/v1/embeddings', { input: 'river '.repeat(58) })));
    }));

  test('BERT as a judge of pairs: two segments, goldens in float32', () =>
    withServed(['--model', encoder('bert-pair'), '--dtype', 'float32', '-tp', '2'], async ({ post }) => {
      for (const { text, pair, ids, logit } of goldenOf('bert-pair').pairs) {
        const answer = await post('/v1/score', { text_1: text, text_2: pair });
        near([answer.data[0].score], [sigmoid(logit)], 1e-5, text);
        assert.equal(answer.usage.prompt_tokens, ids.length);
        const raw = await post('/v1/rerank', { query: text, documents: [pair], use_activation: false });
        near([raw.results[0].relevance_score], [logit], 1e-5, text);
      }
    }));

  test('RoBERTa with labels: goldens in float32', () =>
    withServed(['--model', encoder('roberta-labels'), '--dtype', 'float32'], async ({ post }) => {
      const { texts } = goldenOf('roberta-labels');
      const answer = await post('/classify', { input: texts.map(({ text }: Json) => text) });
      for (const [i, { text, logits }] of texts.entries()) {
        const powers = logits.map((logit: number) => Math.exp(logit));
        const total = powers.reduce((a: number, b: number) => a + b, 0);
        near(
          answer.data[i].probs,
          powers.map((power: number) => power / total),
          1e-5,
          text,
        );
        assert.equal(answer.data[i].label, ['calm', 'loud', 'odd'][logits.indexOf(Math.max(...logits))]);
      }
    }));
});

describe('language models', () => {
  const llama = join(fixtures, 'tiny-models/llama-9h3kv-rope-llama3');
  const golden = readGolden(join(llama, 'golden.json'));

  test('the difference of two words is the score: as the golden logits say', async () => {
    const [no, yes] = ['a', 'b'];
    const overrides = {
      architectures: ['LlamaForSequenceClassification'],
      classifier_from_token: [no, yes],
      is_original_qwen3_reranker: true,
    };
    await withServed(['--model', llama, '--dtype', 'float32', '--hf-overrides', JSON.stringify(overrides)], async ({ server, post }) => {
      const idOf = async (word: string) => (await post('/tokenize', { prompt: word, add_special_tokens: false })).tokens[0] as number;
      const ids = [await idOf(no!), await idOf(yes!)] as const;
      for (const prompt of golden.prompts) {
        const logits = lastLogits(prompt);
        const answer = await post('/classify', { input: prompt.prompt_ids, use_activation: false });
        near(answer.data[0].probs, [logits[ids[1]]! - logits[ids[0]]!], 2e-4, `prompt ${prompt.id} on port ${server.port}`);
      }
    });
  });

  test('tokens that see each other: means over all of them', async () => {
    const { prompts } = JSON.parse(readFileSync(encoder('llama-bidirectional.json'), 'utf8')) as Json;
    const flags = ['--runner', 'pooling', '--hf-overrides', '{"is_causal": false}', '--pooler-config', '{"pooling_type": "MEAN"}'];
    let expected: number[][] | null = null;
    for (const ranks of ['1', '3']) {
      await withServed(['--model', llama, '--dtype', 'float32', '-tp', ranks, '--max-model-len', '64', ...flags], async ({ post }) => {
        const found = embeddingsOf(await post('/v1/embeddings', { input: prompts.map(({ ids }: Json) => ids) }));
        for (const [i, { embedding }] of prompts.entries()) near(found[i]!, embedding, 1e-4, `prompt ${i} on ${ranks} ranks`);
        assert.deepEqual(found, (expected ??= found));
      });
    }
  });

  test('Gemma with windows on both sides, and dense layers behind the mean', async () => {
    const { prompts } = goldenOf('gemma-mean');
    for (const flags of [
      ['--cpu-threads', '2'],
      ['-tp', '3'],
    ]) {
      await withServed(['--model', encoder('gemma-mean'), '--dtype', 'float32', ...flags], async ({ post }) => {
        const found = embeddingsOf(await post('/v1/embeddings', { input: prompts.map(({ ids }: Json) => ids) }));
        for (const [i, { embedding }] of prompts.entries()) near(found[i]!, embedding, 1e-5, `prompt ${i}, ${flags}`);
      });
    }
  });

  test('a checkpoint that was saved without a head gives the same as one with', async () => {
    const folder = join(scratch, 'bare');
    cpSync(llama, folder, { recursive: true });
    const config = JSON.parse(readFileSync(join(llama, 'config.json'), 'utf8')) as Json;
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, architectures: ['LlamaModel'] }));
    writeFileSync(join(folder, 'model.safetensors'), withoutPrefix(readFileSync(join(llama, 'model.safetensors'))));
    mkdirSync(join(folder, '1_Pooling'));
    writeFileSync(join(folder, '1_Pooling/config.json'), JSON.stringify({ pooling_mode_lasttoken: true }));
    const kinds = { Transformer: '', Pooling: '1_Pooling', Normalize: '2_Normalize' };
    const modules = Object.entries(kinds).map(([kind, path]) => ({ path, type: `sentence_transformers.models.${kind}` }));
    writeFileSync(join(folder, 'modules.json'), JSON.stringify(modules));
    const input = golden.prompts.map(({ prompt_ids }) => prompt_ids);
    let bare: number[][] = [];
    await withServed(['--model', folder, '--dtype', 'float32'], async ({ post }) => {
      bare = embeddingsOf(await post('/v1/embeddings', { input }));
    });
    await withServed(
      ['--model', llama, '--dtype', 'float32', '--runner', 'pooling', '--pooler-config', '{"pooling_type": "LAST"}'],
      async ({ post }) => {
        assert.deepEqual(embeddingsOf(await post('/v1/embeddings', { input })), bare);
        near([Math.hypot(...bare[0]!)], [1], 1e-6, 'length');
      },
    );
  });
});

/** A .safetensors file with `model.` taken from the names of its tensors. */
function withoutPrefix(file: Buffer): Buffer {
  const headerLen = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.subarray(8, 8 + headerLen).toString()) as Record<string, unknown>;
  const renamed = Object.fromEntries(Object.entries(header).map(([name, entry]) => [name.replace(/^model\./, ''), entry]));
  const text = Buffer.from(JSON.stringify(renamed));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, file.subarray(8 + headerLen)]);
}
