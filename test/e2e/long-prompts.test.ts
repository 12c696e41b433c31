/** Prompts that are read in the thread pool: the same ids, the loop stays free, and a client that goes meanwhile leaves nothing behind. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { createServer, type HttpServer } from '../../src/api/server.js';
import { createChatTemplate } from '../../src/chat/template.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';

const folder = 'test/fixtures/stories260K';
const chatTemplate = '{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}';
const short = 'Once upon a time there was a little girl. ';
let server: HttpServer;
let engine: FakeEngine;

before(async () => {
  const config = JSON.parse(readFileSync(`${folder}/tokenizer_config.json`, 'utf8'));
  const source = { kind: 'huggingface', path: `${folder}/tokenizer.json`, config } as const;
  const tokenizer = await loadTokenizer(source);
  engine = new FakeEngine({ nextId: () => 300 });
  server = await createServer({ host: '127.0.0.1', port: 0 });
  const template = createChatTemplate(chatTemplate, tokenizer);
  server.setModel(
    fakeModel(engine, {
      tokenizer,
      template,
      vocabSize: 512,
      maxModelLen: 1 << 20,
      preparation: { tokenizer: source, chatTemplate, cache: null },
    }),
  );
});
after(() => server.close());

const post = (path: string, body: object, signal?: AbortSignal) =>
  fetch(`http://127.0.0.1:${server.port}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });

test('a long prompt has the ids of its parts', async () => {
  const count = async (body: object) => ((await (await post('/tokenize', body)).json()) as { count: number }).count;
  const one = await count({ prompt: short.repeat(2), add_special_tokens: false });
  const few = await count({ prompt: short, add_special_tokens: false });
  const many = await count({ prompt: short.repeat(2000), add_special_tokens: false });
  assert.equal(many, few + 1999 * (one - few));
  const chat = await count({ messages: [{ role: 'user', content: short.repeat(2000) }] });
  assert.ok(chat > many);
});

test('other requests are answered while a long prompt is read', async () => {
  const long = post('/v1/completions', { prompt: short.repeat(20_000), max_tokens: 1 });
  let answered = 0;
  let done = false;
  const finished = long.finally(() => {
    done = true;
  });
  while (!done) {
    assert.equal((await post('/v1/completions', { prompt: short, max_tokens: 1 })).status, 200);
    answered++;
  }
  assert.equal((await finished).status, 200);
  assert.ok(answered > 1, `${answered} answered meanwhile`);
});

test('a client that goes while its prompt is read starts nothing', async () => {
  const before = engine.numSubmitted;
  const controller = new AbortController();
  // The pool has one thread: behind these the prompt is still waiting, whatever the machine's speed, when its client goes.
  const ahead = Array.from({ length: 6 }, () => post('/v1/completions', { prompt: short.repeat(20_000), max_tokens: 1 }));
  await sleep(10);
  const gone = post('/v1/completions', { prompt: short.repeat(20_000), max_tokens: 1 }, controller.signal);
  await sleep(10);
  controller.abort();
  await assert.rejects(gone);
  for (const response of await Promise.all(ahead)) assert.equal(response.status, 200);
  assert.equal((await post('/v1/completions', { prompt: short.repeat(2000), max_tokens: 1 })).status, 200);
  assert.equal(engine.numSubmitted, before + ahead.length + 1);
});

test('a template that refuses a long conversation is a 400', async () => {
  const refusing = '{{ raise_exception("only short ones") }}';
  const { tokenizer } = fakeModel(engine);
  const config = JSON.parse(readFileSync(`${folder}/tokenizer_config.json`, 'utf8'));
  const strict = await createServer({ host: '127.0.0.1', port: 0 });
  const source = { kind: 'huggingface', path: `${folder}/tokenizer.json`, config } as const;
  strict.setModel(
    fakeModel(engine, {
      template: createChatTemplate(refusing, tokenizer),
      preparation: { tokenizer: source, chatTemplate: refusing, cache: null },
    }),
  );
  const response = await fetch(`http://127.0.0.1:${strict.port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: short.repeat(2000) }] }),
  });
  assert.equal(response.status, 400);
  assert.match(await response.text(), /only short ones/);
  await strict.close();
});
