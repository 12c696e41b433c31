/** Two servers as two API threads have them: what is asked at one is known at the other. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import OpenAI from 'openai';
import { FakeEngine, fakeModel } from '../fake-engine.js';
import { type Json, namedEvents, saying } from '../fake-exchange.js';
import { ResponseStore } from '../responses/store.js';
import { createServer, type HttpServer } from '../server.js';
import { type HomeParts, serveThread } from './home.js';
import type { ToHome } from './messages.js';
import { createSharedState } from './shared-state.js';

interface Thread {
  readonly server: HttpServer;
  readonly engine: FakeEngine;
  readonly url: string;
  readonly client: OpenAI;
}

const key = { key: 'sk-1', name: 'one', weight: 1, requestsPerMinute: null, tokensPerMinute: null };
let home: Thread;
let other: Thread;
let close = async () => {};

beforeEach(() => begin());
afterEach(() => close());

async function begin(options = {}): Promise<void> {
  const shared = createSharedState(2, 0);
  const { port1, port2 } = new MessageChannel();
  const start = async (index: number): Promise<Thread> => {
    const place = { index, shared, home: index === 0 ? null : port2 };
    const server = await createServer({ host: '127.0.0.1', port: 0, ...options }, null, place);
    const engine = new FakeEngine({ ...saying('Hello you'), stepMs: 3 });
    server.setModel(fakeModel(engine));
    const url = `http://127.0.0.1:${server.port}`;
    return { server, engine, url, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: key.key, maxRetries: 0 }) };
  };
  [home, other] = [await start(0), await start(1)];
  home.server.serveThread(port1);
  close = async () => {
    await Promise.all([home.server.close(), other.server.close()]);
  };
}

const ask = { model: 'fake', input: 'hi' } as const;
const both = () => [home, other];

async function ended(client: OpenAI, id: string): Promise<OpenAI.Responses.Response> {
  for (;;) {
    const response = await client.responses.retrieve(id);
    if (response.status !== 'queued' && response.status !== 'in_progress') return response;
  }
}

test('what another thread has sent is known before it is read from the port', () => {
  const { port1, port2 } = new MessageChannel();
  const store = new ResponseStore();
  const grammars = { compile: () => assert.fail('nothing to compile') } as unknown as HomeParts['grammars'];
  const [keepAlive, logger] = [{ watch: () => {} } as unknown as HomeParts['keepAlive'], { error: () => {} }];
  serveThread(port1, { store, reader: null, grammars, keepAlive, errorCodeStyle: 'openai', logger });
  port2.postMessage({ kind: 'keep', maker: null, response: { id: 'resp_1', json: '{}', input: [], messages: [] } } satisfies ToHome);
  assert.equal(store.get('resp_1').json, '{}');
  assert.throws(() => store.get('resp_2'), { code: 'not_found' });
  port2.close();
});

test('a response of one thread is retrieved, gone on from and deleted at the other', async () => {
  for (const [maker, asker] of [both(), both().reverse()] as [Thread, Thread][]) {
    const made = await maker.client.responses.create(ask);
    assert.equal(made.output_text, 'Hello you');
    assert.deepEqual(await asker.client.responses.retrieve(made.id), await maker.client.responses.retrieve(made.id));
    const next = await asker.client.responses.create({ input: 'and?', previous_response_id: made.id });
    assert.equal(next.usage?.input_tokens, 'user:hi\nassistant:Hello you\nuser:and?\nassistant:'.length);
    assert.equal((await asker.client.responses.inputItems.list(made.id)).data.length, 1);
    await asker.client.responses.delete(made.id);
    for (const { client } of both()) await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
    await assert.rejects(asker.client.responses.create({ input: 'and?', previous_response_id: made.id }), OpenAI.NotFoundError);
  }
});

test('what the home thread refuses is refused by the same reply', async () => {
  const { id } = await other.client.responses.create(ask);
  for (const path of ['resp_none', `${id}?stream=true`, `${id}/nothing`, `${id}?starting_after=x`]) {
    const [here, there] = await Promise.all(both().map(({ url }) => fetch(`${url}/v1/responses/${path}`)));
    assert.ok(here!.status >= 400, path);
    assert.deepEqual([there!.status, await there!.text()], [here!.status, await here!.text()], path);
  }
});

test('made in the background on one thread, followed at both, all with the same events', async () => {
  for (const [maker, asker] of [both(), both().reverse()] as [Thread, Thread][]) {
    const own: Json[] = [];
    const following: Promise<string>[] = [];
    for await (const event of await maker.client.responses.create({ ...ask, background: true, stream: true })) {
      own.push(event);
      if (event.type !== 'response.created') continue;
      for (const { url } of [maker, asker]) {
        following.push(fetch(`${url}/v1/responses/${event.response.id}?stream=true`).then((answer) => answer.text()));
      }
    }
    assert.equal(own.at(-1).type, 'response.completed');
    for (const text of await Promise.all(following)) assert.deepEqual(namedEvents(text), own);
    const whole = await ended(asker.client, own[0].response.id);
    assert.deepEqual([whole.status, whole.output_text], ['completed', 'Hello you']);
  }
});

test('cancelled at one thread: the engine of the other lets go of it, and it stays cancelled', async () => {
  for (const [maker, asker] of [both(), both().reverse()] as [Thread, Thread][]) {
    maker.engine.options = { stepMs: 20 };
    const { id, status } = await maker.client.responses.create({ ...ask, background: true });
    assert.equal(status, 'queued');
    const left = new AbortController();
    const following = fetch(`${asker.url}/v1/responses/${id}?stream=true`, { signal: left.signal });
    assert.equal((await following).status, 200);
    left.abort();
    while ((await asker.client.responses.retrieve(id)).status === 'queued');
    assert.equal((await asker.client.responses.cancel(id)).status, 'cancelled');
    while (maker.engine.numRunning > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal((await maker.client.responses.retrieve(id)).status, 'cancelled');
    assert.equal(await maker.server.drain(1000), true);
  }
});

test('a follower on which nothing comes hears comments, at either thread', async () => {
  await close();
  await begin({ keepAliveMs: 20 });
  home.engine.options = { ...saying('Hello you'), prefillMs: 60 };
  const { id } = await home.client.responses.create({ ...ask, background: true });
  const texts = await Promise.all(both().map(async ({ url }) => (await fetch(`${url}/v1/responses/${id}?stream=true`)).text()));
  for (const text of texts) assert.match(text, /: ping\n\n.*response\.completed/s);
});

test('what is counted is counted together: load, metrics', async () => {
  const streams = await Promise.all(both().map(({ client }) => client.completions.create({ model: 'fake', prompt: 'x', stream: true })));
  const loads = await Promise.all(both().map(async ({ url }) => (await fetch(`${url}/load`)).json()));
  assert.deepEqual(loads, [{ server_load: 2 }, { server_load: 2 }]);
  for (const stream of streams) for await (const _ of stream);
  const [here, there] = await Promise.all(both().map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  for (const text of [here!, there!]) {
    assert.match(text, /http_requests_total\{handler="\/v1\/completions",method="POST",status="2xx"\} 2\n/);
    for (const thread of [0, 1]) assert.match(text, new RegExp(`lockstep:api_thread_requests_total\\{thread="${thread}"\\} [1-9]`));
  }
  const since = (text: string) => /http_requests_created\{handler="\/v1\/completions".*/.exec(text)?.[0];
  assert.equal(since(here!), since(there!));
});

test('the limits of a key hold for both together', async () => {
  await close();
  await begin({ apiKeys: [key], rateDefaults: { requestsPerMinute: 3, tokensPerMinute: null } });
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) {
    for (const { url } of both()) {
      const init = { method: 'POST', headers: { 'content-type': 'application/json', 'x-api-key': key.key }, body: '{"prompt": "x"}' };
      statuses.push((await fetch(`${url}/tokenize`, init)).status);
    }
  }
  assert.deepEqual(statuses, [200, 200, 200, 429, 429, 429]);
});

test('a grammar is compiled by the home thread; what is wrong with one is told as there', async () => {
  const asked = (regex: string) => ({ model: 'fake', prompt: 'x', max_tokens: 2, structured_outputs: { regex } });
  const answers = await Promise.all(
    both().flatMap(({ url }) =>
      ['ab*', '('].map(async (regex) => {
        const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked(regex)) };
        const answer = await fetch(`${url}/v1/completions`, init);
        return { status: answer.status, error: ((await answer.json()) as Json).error ?? null };
      }),
    ),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 200, 400],
  );
  assert.deepEqual(answers[3], answers[1]);
});
