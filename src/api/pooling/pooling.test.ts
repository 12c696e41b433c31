import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pooler } from '../../engine/pooler.js';
import { FakeEngine, type FakeEngineOptions, FakeTokenizer, fakeModel, fakePooled } from '../fake-engine.js';
import { findRoute } from '../routes.js';
import { findFault } from '../schema.js';
import type { ServedModel } from '../served-model.js';
import { createServer } from '../server.js';
import { inputsMax } from './fields.js';

type PoolingSpec = Pooler['spec'];

const none = { fromTokens: null, lowercase: false } as const;
const embeds: PoolingSpec = { ...none, of: 'last', task: 'embed', layers: [], width: 4, activation: 'none', dimensions: null, labels: [] };
/** The logit of one label is the prompt's length, its second segment's place counted ten times. */
const judge: PoolingSpec = {
  ...embeds,
  task: 'classify',
  width: 1,
  layers: [{ outputs: 1, weight: Float32Array.of(0, 0, 0.01, 0.1), bias: null, activation: 'none' }],
  activation: 'sigmoid',
  labels: ['good'],
};
const labels: PoolingSpec = {
  ...embeds,
  task: 'classify',
  width: 2,
  activation: 'softmax',
  labels: ['first', 'last'],
  layers: [{ outputs: 2, weight: Float32Array.of(0.01, 0, 0, 0, 0, 0.01, 0, 0), bias: null, activation: 'none' }],
};

/** `[` and `]` around a text, as an encoder's tokenizer frames it. */
class FramingTokenizer extends FakeTokenizer {
  override encode(text: string, options = { addSpecialTokens: true }): Int32Array {
    return Int32Array.from(Buffer.from(options.addSpecialTokens ? `[${text}]` : text));
  }

  async encodePair(text: string, pair: string) {
    return { ids: Int32Array.from(Buffer.from(`[${text}]${pair}]`)), secondSegment: text.length + 2 };
  }
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;

interface Asked {
  readonly engine: FakeEngine;
  /** Posts, and checks an answer against the route's schema. */
  post(path: string, body: object): Promise<{ status: number; body: Json }>;
  readonly url: string;
}

async function withServer(
  spec: PoolingSpec | null,
  use: (asked: Asked) => Promise<void>,
  { engine: engineOptions = {}, model = {} }: { engine?: FakeEngineOptions; model?: Partial<ServedModel> } = {},
): Promise<void> {
  const engine = new FakeEngine(engineOptions);
  const server = await createServer({ host: '127.0.0.1', port: 0, promptTokensDetails: true });
  server.setModel(fakeModel(engine, { pooler: spec && new Pooler(spec), tokenizer: new FramingTokenizer(), maxModelLen: 64, ...model }));
  const url = `http://127.0.0.1:${server.port}`;
  const post = async (path: string, body: object) => {
    const answer = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const json = (await answer.json()) as Json;
    const match = findRoute('POST', path);
    if (answer.status === 200 && match.found === 'route')
      assert.equal(findFault(match.route.answer.json!, json), null, JSON.stringify(json));
    return { status: answer.status, body: json };
  };
  try {
    await use({ engine, post, url });
  } finally {
    await server.close();
  }
}

const vectorOf = (text: string) => Array.from(fakePooled(Int32Array.from(Buffer.from(text)), 0));
const embeddingsOf = (body: Json) => body.data.map(({ embedding }: Json) => embedding);

describe('embeddings', () => {
  test('inputs of every form, in order, with their tokens counted', () =>
    withServer(embeds, async ({ post }) => {
      const one = await post('/v1/embeddings', { model: 'fake', input: 'abc', user: 'me' });
      assert.equal(one.status, 200);
      assert.match(one.body.id, /^embd-/);
      assert.deepEqual(one.body.usage, {
        prompt_tokens: 5,
        total_tokens: 5,
        completion_tokens: 0,
        prompt_tokens_details: { cached_tokens: 0 },
      });
      assert.deepEqual(one.body.data, [{ index: 0, object: 'embedding', embedding: vectorOf('[abc]') }]);
      const many = await post('/v1/embeddings', { input: ['abc', '', 'de'] });
      assert.deepEqual(embeddingsOf(many.body), [vectorOf('[abc]'), vectorOf('[]'), vectorOf('[de]')]);
      assert.deepEqual(embeddingsOf((await post('/v1/embeddings', { input: [97, 98] })).body), [vectorOf('ab')]);
      assert.deepEqual(embeddingsOf((await post('/v1/embeddings', { input: [[97, 98], [99]] })).body), [vectorOf('ab'), vectorOf('c')]);
      assert.deepEqual(embeddingsOf((await post('/v1/embeddings', { input: 'abc', add_special_tokens: false })).body), [vectorOf('abc')]);
      const talk = { messages: [{ role: 'user', content: 'hi' }] };
      assert.deepEqual(embeddingsOf((await post('/v1/embeddings', talk)).body), [vectorOf('user:hi\n')]);
      assert.deepEqual(embeddingsOf((await post('/v1/embeddings', { ...talk, add_generation_prompt: true })).body), [
        vectorOf('user:hi\nassistant:'),
      ]);
    }));

  test('base64 is little-endian float32; length 1; leading dimensions', () =>
    withServer({ ...embeds, dimensions: [2, 3] }, async ({ post }) => {
      const { body } = await post('/v1/embeddings', { input: 'abc', encoding_format: 'base64' });
      const bytes = Buffer.from(body.data[0].embedding, 'base64');
      assert.deepEqual(
        Array.from({ length: 4 }, (_, i) => bytes.readFloatLE(4 * i)),
        vectorOf('[abc]'),
      );
      const [embedding] = embeddingsOf((await post('/v1/embeddings', { input: 'abc', dimensions: 2, use_activation: true })).body);
      const [x, y] = vectorOf('[abc]') as [number, number];
      assert.ok(embedding.length === 2 && Math.abs(embedding[0] - x / Math.hypot(x, y)) < 1e-6);
      const refused = await post('/v1/embeddings', { input: 'abc', dimensions: 4 });
      assert.equal(
        refused.body.error.message,
        'Model "fake" only supports [2, 3] matryoshka dimensions, use other output dimensions will lead to poor results.',
      );
    }));

  test('longer inputs are refused, or cut with the frame kept', () =>
    withServer(embeds, async ({ post }) => {
      const long = 'abcdefghij'.repeat(10);
      const refused = await post('/v1/embeddings', { input: long });
      assert.deepEqual([refused.status, refused.body.error.code], [400, 'context_length_exceeded']);
      const cut = async (fields: object) => embeddingsOf((await post('/v1/embeddings', { input: long, ...fields })).body)[0];
      assert.deepEqual(await cut({ truncate_prompt_tokens: 5 }), vectorOf('[abc]'));
      assert.deepEqual(await cut({ truncate_prompt_tokens: 5, truncation_side: 'left' }), vectorOf('[hij]'));
      assert.deepEqual(await cut({ truncate_prompt_tokens: -1 }), vectorOf(`[${long.slice(0, 62)}]`));
      assert.deepEqual(await cut({ input: [97, 98, 99], truncate_prompt_tokens: 2 }), vectorOf('ab'));
      assert.deepEqual(await cut({ input: 'b'.repeat(50_000), truncate_prompt_tokens: 4 }), vectorOf('[bb]'));
      assert.match(
        (await post('/v1/embeddings', { input: long, truncate_prompt_tokens: 65 })).body.error.message,
        /greater than max_model_len \(64\)/,
      );
    }));

  test('what is wrong is refused by name', () =>
    withServer(embeds, async ({ post, engine }) => {
      const refusals: readonly (readonly [object, string | null, RegExp])[] = [
        [{}, 'body.input', /input must be given/],
        [{ input: null }, 'body.input', /input must be given/],
        [{ input: [] }, 'input', /at least one input/],
        [{ input: 5 }, 'body.input', /must be a string, a list/],
        [{ input: ['a', 5] }, 'body.input.1', /must be a string/],
        [{ input: [-1] }, 'body.input.0', /must be/],
        [{ input: [300] }, null, /Token id 300 is out of vocabulary/],
        [{ input: [[]] }, 'input', /cannot be empty/],
        [{ input: '', add_special_tokens: false }, 'input', /cannot be empty/],
        [{ input: Array(inputsMax + 1).fill('a') }, 'input', /at most 2048 fit/],
        [{ input: 'a', encoding_format: 'hex' }, 'body.encoding_format', /one of "float", "base64"/],
        [{ input: 'a', dimensions: 0 }, 'body.dimensions', /at least 1/],
        [{ input: 'a', dimensions: 2 }, 'dimensions', /does not support matryoshka/],
        [{ input: 'a', truncate_prompt_tokens: 0 }, 'truncate_prompt_tokens', /must be -1 or at least 1/],
        [{ input: 'a', truncate_prompt_tokens: -2 }, 'body.truncate_prompt_tokens', /at least -1/],
        [{ input: 'a', normalize: true }, 'normalize', /use `use_activation` instead/],
        [{ input: 'a', embed_dtype: 'float16' }, 'embed_dtype', /not supported/],
        [{ input: 'a', endianness: 'big' }, 'endianness', /not supported/],
        [{ input: 'a', priority: 3 }, 'priority', /Priority scheduling is not enabled/],
        [{ input: 'a', nonsense: 3 }, 'nonsense', /Unrecognized request argument/],
      ];
      for (const [body, param, message] of refusals) {
        const { status, body: answer } = await post('/v1/embeddings', body);
        assert.equal(status, 400, JSON.stringify(body).slice(0, 80));
        assert.equal(answer.error.param, param, answer.error.message);
        assert.match(answer.error.message, message);
      }
      assert.equal(engine.numSubmitted, 0);
      assert.equal((await post('/v1/embeddings', { input: 'a', model: 'other' })).status, 404);
      assert.equal(
        (await post('/v1/embeddings', { input: 'a', embed_dtype: 'float32', endianness: 'little', padding: 'do_not_pad' })).status,
        200,
      );
    }));

  test('many inputs are with the engine some at a time', () =>
    withServer(
      embeds,
      async ({ post, engine }) => {
        const { status, body } = await post('/v1/embeddings', { input: Array.from({ length: 1000 }, (_, i) => 'a'.repeat(i % 50)) });
        assert.equal(status, 200);
        assert.deepEqual(
          embeddingsOf(body).map((vector: number[]) => vector[2]),
          Array.from({ length: 1000 }, (_, i) => (i % 50) + 2),
        );
        assert.equal(engine.numSubmitted, 1000);
      },
      { engine: { prefillMs: 1, queueLenMax: 128 } },
    ));

  test('a failure is one answer, and takes back the rest', () =>
    withServer(
      embeds,
      async ({ post, engine }) => {
        const { status, body } = await post('/v1/embeddings', { input: ['abc', 'abcd', 'abc'] });
        assert.deepEqual([status, body.error.message], [500, 'the fake engine failed as asked']);
        assert.equal(engine.numRunning, 0);
        assert.equal((await post('/v1/embeddings', { input: 'abc' })).status, 200);
      },
      { engine: { failAt: 6 } },
    ));

  test('a client that goes away takes its inputs with it', () =>
    withServer(
      embeds,
      async ({ url, engine }) => {
        const gone = new AbortController();
        const asked = fetch(`${url}/v1/embeddings`, {
          headers: { 'content-type': 'application/json' },
          method: 'POST',
          body: JSON.stringify({ input: ['a', 'b', 'c'] }),
          signal: gone.signal,
        });
        asked.catch(() => undefined);
        for (let i = 0; i < 200 && engine.numRunning < 3; i++) await sleep(5);
        gone.abort();
        for (let i = 0; i < 200 && engine.numRunning > 0; i++) await sleep(5);
        assert.deepEqual([engine.numAborts, engine.numRunning], [3, 0]);
      },
      { engine: { prefillMs: 60_000 } },
    ));

  test('a full queue is 429, and what was submitted is taken back', () =>
    withServer(
      embeds,
      async ({ post, engine }) => {
        assert.equal((await post('/v1/embeddings', { input: ['a', 'b', 'c'] })).status, 429);
        assert.equal(engine.numRunning, 0);
      },
      { engine: { prefillMs: 1000, queueLenMax: 2 } },
    ));
});

describe('scores', () => {
  test('of embeddings: their cosine similarity, one to many and each to each', () =>
    withServer(embeds, async ({ post }) => {
      const cosine = (a: string, b: string) => {
        const [x, y] = [vectorOf(`[${a}]`), vectorOf(`[${b}]`)];
        const dot = (p: number[], q: number[]) => p.reduce((sum, value, i) => sum + value * q[i]!, 0);
        return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
      };
      const scoresOf = async (path: string, body: object) => (await post(path, body)).body.data.map(({ score }: Json) => score);
      const close = (found: number[], expected: number[]) => {
        assert.equal(found.length, expected.length);
        for (const [i, value] of expected.entries()) assert.ok(Math.abs(found[i]! - value) < 1e-12);
      };
      close(await scoresOf('/v1/score', { text_1: 'a', text_2: ['a', 'abcdefg'] }), [cosine('a', 'a'), cosine('a', 'abcdefg')]);
      close(await scoresOf('/score', { queries: ['a', 'bb'], items: ['abc', 'b'] }), [cosine('a', 'abc'), cosine('bb', 'b')]);
      close(await scoresOf('/score', { data_1: ['a'], data_2: 'b' }), [cosine('a', 'b')]);
      const { body } = await post('/v1/score', { text_1: 'a', text_2: ['bb', 'c'] });
      assert.deepEqual([body.usage.prompt_tokens, body.usage.completion_tokens], [3 + 4 + 3, 0]);
      const message = async (fields: object) => (await post('/v1/score', fields)).body.error.message;
      assert.equal(await message({ text_1: ['a', 'b'], text_2: ['a', 'b', 'c'] }), 'Input lengths must be either 1:1, 1:N or N:N');
      assert.equal(await message({ text_1: [], text_2: ['a'] }), 'At least one text element must be given');
      assert.equal(await message({ text_1: 'a', text_2: [] }), 'At least one text_pair element must be given');
      assert.equal(await message({ text_1: 'a' }), 'text_2 is required.');
    }));

  test('of a judge: pairs in two segments, cut from the end of the second', () =>
    withServer(
      judge,
      async ({ post }) => {
        const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
        const score = async (fields: object) => (await post('/v1/score', { text_1: 'abc', text_2: 'defgh', ...fields })).body.data[0].score;
        assert.ok(Math.abs((await score({})) - sigmoid(0.11 + 0.5)) < 1e-6); // [abc]defgh] has 11 tokens, and 5 before the second segment
        assert.ok(Math.abs((await score({ use_activation: false })) - 0.61) < 1e-6);
        assert.ok(Math.abs((await score({ truncate_prompt_tokens: 8 })) - sigmoid(0.08 + 0.5)) < 1e-6);
        assert.equal((await post('/v1/score', { text_1: 'a', text_2: 'b'.repeat(80) })).body.error.code, 'context_length_exceeded');
      },
      { model: { pairs: 'segments' } },
    ));

  test('of a judge with a template: the roles query and document', () =>
    withServer(
      judge,
      async ({ post }) => {
        const { body } = await post('/v1/score', { text_1: 'ab', text_2: 'c', use_activation: false });
        assert.equal(body.usage.prompt_tokens, '[query:ab\ndocument:c\n]'.length);
      },
      { model: { pairs: 'template' } },
    ));

  test('reranked: the best first, some of them, with and without their texts', () =>
    withServer(judge, async ({ post }) => {
      const documents = ['a', 'aaa', { text: 'aa' }, 'aaa'];
      const { body } = await post('/v1/rerank', { query: 'q', documents });
      assert.deepEqual(
        body.results.map(({ index }: Json) => index),
        [1, 3, 2, 0],
      );
      assert.deepEqual(body.results[2].document, { text: 'aa', multi_modal: null });
      assert.deepEqual(Object.keys(body.usage), ['prompt_tokens', 'total_tokens']);
      const short = await post('/v2/rerank', { query: 'q', documents, top_n: 2, return_documents: false });
      assert.deepEqual(
        short.body.results.map((result: Json) => [result.index, result.document]),
        [
          [1, undefined],
          [3, undefined],
        ],
      );
      assert.equal((await post('/rerank', { query: 'q', documents: [] })).status, 400);
      assert.equal((await post('/rerank', { documents })).body.error.param, 'body.query');
      assert.equal((await post('/rerank', { query: 'q', documents: [{ title: 'a' }] })).status, 400);
    }));
});

test('labels: the likeliest, and the probabilities of all', () =>
  withServer(labels, async ({ post }) => {
    const { body } = await post('/classify', { input: ['az', 'za'], add_special_tokens: false });
    assert.deepEqual(
      body.data.map(({ label, num_classes }: Json) => [label, num_classes]),
      [
        ['last', 2],
        ['first', 2],
      ],
    );
    for (const { probs } of body.data) assert.ok(Math.abs(probs[0] + probs[1] - 1) < 1e-6);
    const pooled = await post('/pooling', { input: 'az', add_special_tokens: false, task: 'classify' });
    assert.deepEqual(pooled.body.data[0].data, body.data[0].probs);
    assert.match((await post('/pooling', { input: 'a', task: 'embed' })).body.error.message, /Unsupported task: 'embed'/);
    assert.equal(
      (await post('/v1/score', { text_1: 'a', text_2: 'b' })).body.error.message,
      'Score API is only enabled for num_labels == 1.',
    );
    assert.match(
      (await post('/v1/embeddings', { input: 'a' })).body.error.message,
      /^The model does not support Embeddings API: it gives scores/,
    );
  }));

test('a model that generates gives no vectors, and one that gives vectors generates nothing', async () => {
  await withServer(null, async ({ post }) => {
    for (const [path, body, name] of [
      ['/v1/embeddings', { input: 'a' }, 'Embeddings API'],
      ['/pooling', { input: 'a' }, 'Pooling API'],
      ['/classify', { input: 'a' }, 'Classification API'],
      ['/v1/score', { text_1: 'a', text_2: 'b' }, 'Score API'],
      ['/v1/rerank', { query: 'a', documents: ['b'] }, 'Rerank (Score) API'],
    ] as const) {
      const { status, body: answer } = await post(path, body);
      assert.deepEqual([status, answer.error.type], [400, 'BadRequestError']);
      assert.equal(
        answer.error.message,
        `The model does not support ${name}: it generates text; --runner pooling serves it for its hidden states.`,
      );
    }
  });
  await withServer(embeds, async ({ post, engine }) => {
    for (const [path, body] of [
      ['/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }] }],
      ['/v1/completions', { prompt: 'a' }],
    ] as const) {
      const { status, body: answer } = await post(path, body);
      assert.deepEqual([status, answer.error.message], [400, 'The model does not generate text: it is served for embeddings or scores.']);
    }
    assert.match(
      (await post('/classify', { input: 'a' })).body.error.message,
      /^The model does not support Classification API: it gives embeddings/,
    );
    assert.equal(engine.numSubmitted, 0);
  });
});
