import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { DetachedExchange } from '../detached-exchange.js';
import { FakeExchange, type FakeServer, fakeServer, type Json, namedEvents, saying } from '../fake-exchange.js';
import { BackgroundResponse, eventCharsMax } from './background.js';
import { backgroundMax, ResponseStore } from './store.js';

let it: FakeServer;
let client: OpenAI;

before(async () => {
  it = await fakeServer({}, { ...saying('Hello you'), prefillMs: 20, stepMs: 2 });
  client = new OpenAI({ baseURL: `${it.url}/v1`, apiKey: 'none', maxRetries: 0 });
});
after(() => it.close());

const ask = { model: 'fake', input: 'hi', background: true } as const;
const isUnderWay = ({ status }: { status?: string | undefined }) => status === 'queued' || status === 'in_progress';

async function ended(id: string): Promise<OpenAI.Responses.Response> {
  for (;;) {
    const response = await client.responses.retrieve(id);
    if (!isUnderWay(response)) return response;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("OpenAI's client polls until it is there, and goes on from it", async () => {
  const first = await client.responses.create(ask);
  assert.deepEqual([first.status, first.background, first.output, first.usage], ['queued', true, [], null]);
  await assert.rejects(client.responses.create({ input: 'and?', previous_response_id: first.id }), /has no answer/);
  const whole = await ended(first.id);
  assert.deepEqual([whole.status, whole.output_text, whole.background], ['completed', 'Hello you', true]);
  const next = await client.responses.create({ input: 'and?', previous_response_id: first.id });
  assert.equal(next.usage?.input_tokens, 'user:hi\nassistant:Hello you\nuser:and?\nassistant:'.length);
});

test('streamed from its creation, left, and taken up again behind any event', async () => {
  const stream = await client.responses.create({ ...ask, stream: true });
  const seen: Json[] = [];
  for await (const event of stream) {
    seen.push(event);
    if (event.type === 'response.output_text.delta') break; // the client goes away; the response goes on
  }
  assert.deepEqual(
    seen.map(({ type }) => type),
    ['created', 'queued', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta'].map((name) => `response.${name}`),
  );
  const { id } = seen[0].response;
  const rest: Json[] = [];
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: seen.at(-1).sequence_number }))
    rest.push(event);
  const all = [...seen, ...rest];
  assert.deepEqual(
    all.map(({ sequence_number: number }) => number),
    all.map((_, i) => i),
  );
  assert.deepEqual([all.at(-1).type, all.at(-1).response.output[0].content[0].text], ['response.completed', 'Hello you']);
  const again = namedEvents(await (await fetch(`${it.url}/v1/responses/${id}?stream=true`)).text());
  assert.deepEqual(again, all, 'the events of one that has ended');
  for (const query of ['starting_after=x', 'starting_after=1.5']) {
    assert.equal((await fetch(`${it.url}/v1/responses/${id}?stream=true&${query}`)).status, 400);
  }
  for (const query of ['stream=null', 'starting_after=-2']) {
    assert.equal((await fetch(`${it.url}/v1/responses/${id}?${query}`)).status, 400);
  }
});

test('cancelled: the engine lets go of it, its followers are told no more, and it stays cancelled', async () => {
  const slow = await fakeServer({}, { stepMs: 20 });
  const its = new OpenAI({ baseURL: `${slow.url}/v1`, apiKey: 'none', maxRetries: 0 });
  const { id } = await its.responses.create(ask);
  const following = fetch(`${slow.url}/v1/responses/${id}?stream=true`).then((response) => response.text());
  while ((await its.responses.retrieve(id)).status === 'queued') await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal((await its.responses.cancel(id)).status, 'cancelled');
  assert.equal((await its.responses.cancel(id)).status, 'cancelled');
  assert.deepEqual([slow.engine.numRunning, slow.engine.numAborts], [0, 1]);
  assert.ok(namedEvents(await following).every(({ type }) => type !== 'response.completed'));
  assert.equal((await its.responses.retrieve(id)).status, 'cancelled');
  const other = await its.responses.create(ask);
  await its.responses.delete(other.id);
  assert.equal(slow.engine.numRunning, 0);
  await slow.close();
});

test('what fails says so; what cannot begin is refused, and not kept', async () => {
  const failing = await fakeServer({}, { failAt: 2 });
  const its = new OpenAI({ baseURL: `${failing.url}/v1`, apiKey: 'none', maxRetries: 0 });
  const { id } = await its.responses.create(ask);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const failed = await its.responses.retrieve(id);
  assert.deepEqual([failed.status, failed.error?.message], ['failed', 'the fake engine failed as asked']);
  failing.engine.options = { queueLenMax: 0 };
  const refused = await failing.post('/v1/responses', { ...ask, request_id: 'resp_x' });
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '1']);
  await assert.rejects(its.responses.retrieve('resp_x'), OpenAI.NotFoundError);
  assert.equal((await failing.post('/v1/responses', { ...ask, input: 'x'.repeat(5000) })).status, 400);
  assert.equal(await failing.server.drain(1000), true, 'nothing is left');
  await failing.close();
});

test('a shutdown waits for it', async () => {
  const slow = await fakeServer({}, { ...saying('Hello you'), stepMs: 10 });
  await slow.post('/v1/responses', ask);
  assert.equal(await slow.server.drain(5), false);
  assert.equal(await slow.server.drain(5000), true);
  assert.equal(slow.engine.numRunning, 0);
  await slow.close();
});

test('bounds: of events that are kept, and of responses that are made at once', async () => {
  const nothing = () => {};
  const background = new BackgroundResponse(nothing, nothing);
  const event = `data: ${'x'.repeat(eventCharsMax / 4)}\n\n`;
  background.take(event.repeat(8));
  background.take('data: last\n\n');
  background.end();
  assert.ok(background.numChars <= eventCharsMax);
  assert.throws(() => background.follow(new FakeExchange(), 2), /Events up to 4 are no longer kept/);
  const late = new FakeExchange();
  background.follow(late, 7);
  await Promise.resolve();
  assert.equal(late.text, 'data: last\n\n');
  const store = new ResponseStore();
  const running = Array.from({ length: backgroundMax }, () => store.begin(nothing));
  assert.throws(() => store.begin(nothing), { code: 'queue_full' });
  running[0]!.abort();
  store.begin(nothing);
});

test('an exchange without a client is over once', async () => {
  const told: string[] = [];
  const exchange = new DetachedExchange(new FakeExchange(), (events) => told.push(events));
  let numEnds = 0;
  exchange.onEnd(() => numEnds++);
  const stream = exchange.openStream('text/event-stream');
  stream.send('a\n\n');
  exchange.abort();
  stream.end('b\n\n');
  await Promise.resolve();
  assert.deepEqual([told, numEnds, exchange.aborted, exchange.over], [[], 1, true, true]);
});
