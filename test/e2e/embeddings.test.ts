/** The official Node client's embeddings, of a real encoder: the client asks for base64 where nothing is said, and decodes it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import OpenAI from 'openai';
import { withServed } from '../parity/served.js';

const folder = join(process.cwd(), 'test/fixtures/tiny-encoders/bert-mean');

test('embeddings.create: base64 by default and floats give the same numbers, those of the golden', () =>
  withServed(['--model', folder, '--dtype', 'float32', '--hf-overrides', '{"is_matryoshka": true}'], async ({ server }) => {
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${server.port}/v1`, apiKey: 'none', maxRetries: 0 });
    const model = (await client.models.list()).data[0]!.id;
    const { texts } = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as { texts: { text: string; embedding: number[] }[] };
    const input = texts.map(({ text }) => text);
    const packed = await client.embeddings.create({ model, input });
    const plain = await client.embeddings.create({ model, input, encoding_format: 'float' });
    assert.equal(packed.object, 'list');
    for (const [i, { index, embedding }] of packed.data.entries()) {
      assert.equal(index, i);
      assert.deepEqual(Array.from(embedding), plain.data[i]!.embedding);
      for (const [j, value] of texts[i]!.embedding.entries()) assert.ok(Math.abs(embedding[j]! - value) < 1e-5);
    }
    assert.deepEqual([packed.usage.prompt_tokens, packed.usage.total_tokens], [plain.usage.prompt_tokens, plain.usage.total_tokens]);
    const short = (await client.embeddings.create({ model, input: 'the river', dimensions: 16 })).data[0]!.embedding;
    assert.equal(short.length, 16);
    assert.ok(Math.abs(Math.hypot(...short) - 1) < 1e-6);
    await assert.rejects(client.embeddings.create({ model, input: 'a', dimensions: 49 }), OpenAI.BadRequestError);
    await assert.rejects(client.chat.completions.create({ model, messages: [{ role: 'user', content: 'a' }] }), /does not generate text/);
  }));
