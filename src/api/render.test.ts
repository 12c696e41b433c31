import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { plainKeys } from './door/keys.js';
import { type FakeServer, fakeServer, saying } from './fake-exchange.js';

const messages = [{ role: 'user', content: 'hi' }];
let it: FakeServer;

before(async () => {
  it = await fakeServer({}, saying('Hello'));
});
after(() => it.close());

test('a conversation as the model would be asked, and nothing is asked', async () => {
  const before = it.engine.numSubmitted;
  const asked = { messages, temperature: 0, seed: 7, stop: ['x'], max_tokens: 5, logit_bias: { 65: 2 }, stream: true };
  const { status, body } = await it.ask('/v1/chat/completions/render', asked);
  assert.equal(status, 200);
  assert.equal(Buffer.from(body.token_ids).toString(), 'user:hi\nassistant:');
  const { temperature, seed, stop, max_tokens: maxTokens, logit_bias: bias } = body.sampling_params;
  assert.deepEqual([temperature, seed, stop, maxTokens, bias], [0, 7, ['x'], 5, { 65: 2 }]);
  assert.deepEqual([body.model, body.stream, body.features], ['fake', true, null]);
  assert.match(body.request_id, /^chatcmpl-/);
  assert.equal(it.engine.numSubmitted, before);
});

test('texts, one for each; what would be refused is refused', async () => {
  const { body } = await it.ask('/v1/completions/render', { prompt: ['a', 'bc'], seed: 1e18 });
  assert.deepEqual(
    body.map(({ token_ids: ids, sampling_params: { max_tokens: maxTokens, seed } }: never) => [ids, maxTokens, seed]),
    [
      [[97], 16, '1000000000000000000'],
      [[98, 99], 16, '1000000000000000000'],
    ],
  );
  const refused = await it.ask('/v1/completions/render', { prompt: 'a', max_tokens: 99_999 });
  assert.deepEqual([refused.status, refused.body.error.param], [400, 'max_tokens']);
});

test('/invocations: the body says which route is meant', async () => {
  const chat = await it.ask('/invocations', { messages });
  assert.equal(chat.body.choices[0].message.content, 'Hello');
  const completion = await it.ask('/invocations', { prompt: 'hi' });
  assert.equal(completion.body.choices[0].text, 'Hello');
  const streamed = await it.post('/invocations', { messages, stream: true });
  assert.match(await streamed.text(), /data: \[DONE\]/);
  const embedding = await it.ask('/invocations', { input: 'hi' });
  assert.match(embedding.body.error.message, /does not support Embeddings/);
  const unknown = await it.ask('/invocations', { text: 'hi' });
  assert.deepEqual([unknown.status, unknown.body.error.param], [400, 'body']);
  assert.equal((await it.ask('/invocations', { prompt: 'a', zzz: 1 })).body.error.param, 'zzz');
  const keyed = await fakeServer({ apiKeys: plainKeys(['secret']) });
  assert.equal((await keyed.ask('/invocations', { messages })).status, 401);
  await keyed.close();
});
