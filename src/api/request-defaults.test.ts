/** What the server's flags make of fields that a request leaves out. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createChatTemplate } from '../chat/template.js';
import { FakeEngine, fakeModel } from './fake-engine.js';
import { createServer, type HttpServer } from './server.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;

const template = createChatTemplate('{{ mood }}|{{ enable_thinking }}', { bosToken: null, eosToken: null });
let server: HttpServer;

before(async () => {
  const fingerprint = { custom: 'ours' };
  server = await createServer({ host: '127.0.0.1', port: 0, docs: false, fingerprint });
  const templateKwargs = { mood: 'calm', enable_thinking: false };
  const requestDefaults = { streamInterval: 3, tokensAsIds: true, templateKwargs, compactJson: false };
  const source = { tokenizer: {} as never, chatTemplate: 'enable_thinking', cache: null };
  server.setModel(fakeModel(new FakeEngine(), { template, requestDefaults, preparation: source }));
});
after(() => server.close());

async function post(path: string, body: object): Promise<Response> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return fetch(`http://127.0.0.1:${server.port}${path}`, init);
}
const chat = async (body: object): Promise<Json> =>
  (await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'hi' }], max_tokens: 2, ...body })).json();

test('--default-chat-template-kwargs: those of the request win, and so does reasoning_effort', async () => {
  const promptOf = async (body: object) => (await chat({ return_prompt_text: true, ...body })).prompt_text;
  assert.equal(await promptOf({}), 'calm|False');
  assert.equal(await promptOf({ chat_template_kwargs: { mood: 'gay' } }), 'gay|False');
  assert.equal(await promptOf({ reasoning_effort: 'low' }), 'calm|True');
});

test('--return-tokens-as-token-ids', async () => {
  const tokenOf = async (body: object) => (await chat({ logprobs: true, ...body })).choices[0].logprobs.content[0].token;
  assert.match(await tokenOf({}), /^token_id:\d+$/);
  assert.match(await tokenOf({ return_tokens_as_token_ids: false }), /^\w$/);
});

test('--stream-interval: a request may ask for more, not for fewer', async () => {
  const pieces = async (body: object) => {
    const text = await (await post('/v1/completions', { prompt: 'a', max_tokens: 8, stream: true, ...body })).text();
    return [...text.matchAll(/"text":"(\w*)"/g)].map(([, piece]) => piece!.length);
  };
  assert.deepEqual(await pieces({}), [1, 3, 3, 1]);
  assert.deepEqual(await pieces({ stream_interval: 1 }), [1, 3, 3, 1]);
  assert.deepEqual(await pieces({ stream_interval: 5 }), [1, 5, 2]);
});

test('--fingerprint-mode and --disable-fastapi-docs', async () => {
  assert.equal((await chat({})).system_fingerprint, 'ours');
  for (const path of ['/docs', '/openapi.json']) assert.equal((await fetch(`http://127.0.0.1:${server.port}${path}`)).status, 404);
  for (const [fingerprint, wanted] of [
    ['hash', /^[0-9a-f]{8}$/],
    ['none', /^null$/],
  ] as const) {
    const other = await createServer({ host: '127.0.0.1', port: 0, fingerprint });
    other.setModel(fakeModel(new FakeEngine()));
    const response = await fetch(`http://127.0.0.1:${other.port}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a', max_tokens: 1 }),
    });
    assert.match(String(((await response.json()) as Json).system_fingerprint), wanted);
    await other.close();
  }
});
