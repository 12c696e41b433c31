import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { noTimes } from '../../metrics/metrics.js';
import type { ParsedEvent } from '../../parsing/event-list.js';
import type { ChatDelta } from '../answer-events.js';
import { FakeEngine, fakeModel } from '../fake-engine.js';
import { FakeExchange, type FakeServer, fakeServer, type Json, namedEvents, saying } from '../fake-exchange.js';
import { parseGeneration } from '../generation.js';
import { streamedResponse, wholeResponse } from './answer.js';
import { ResponseStore, storedCharsMax, storedResponsesMax } from './store.js';
import { messagesOf, responsesAsChat } from './translate.js';

const path = '/v1/responses';
let it: FakeServer;
let client: OpenAI;

before(async () => {
  it = await fakeServer({}, saying('Hello you'));
  client = new OpenAI({ baseURL: `${it.url}/v1`, apiKey: 'none', maxRetries: 0 });
});
after(() => it.close());

test("OpenAI's client: whole and streamed", async () => {
  const whole = await client.responses.create({ model: 'fake', input: 'hi', metadata: { a: 'b' } });
  assert.equal(whole.output_text, 'Hello you');
  assert.deepEqual([whole.status, whole.object, whole.incomplete_details, whole.metadata], ['completed', 'response', null, { a: 'b' }]);
  assert.deepEqual([whole.usage?.input_tokens, whole.usage?.output_tokens, whole.usage?.total_tokens], [18, 10, 28]);

  const stream = client.responses.stream({ model: 'fake', input: 'hi', max_output_tokens: 5 });
  let text = '';
  stream.on('response.output_text.delta', ({ delta }) => {
    text += delta;
  });
  const streamed = await stream.finalResponse();
  assert.equal(text, 'Hello');
  assert.equal(streamed.output_text, 'Hello');
  assert.deepEqual([streamed.status, streamed.incomplete_details], ['incomplete', { reason: 'max_output_tokens' }]);
});

test('events come in order, each with its number', async () => {
  const events = await it.events(path, { input: 'hi', max_output_tokens: 2, stream: true });
  assert.deepEqual(
    events.map(({ type }) => type.slice('response.'.length)),
    [
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'completed',
    ],
  );
  assert.deepEqual(
    events.map(({ sequence_number: number }) => number),
    events.map((_, i) => i),
  );
});

test('a response is kept, goes on, and is forgotten', async () => {
  const first = await client.responses.create({ input: 'hi', instructions: 'Be brief.' });
  assert.deepEqual(await client.responses.retrieve(first.id), first);
  const second = await client.responses.create({ input: [{ role: 'user', content: 'and?' }], previous_response_id: first.id });
  const prompt = 'user:hi\nassistant:Hello you\nuser:and?\nassistant:';
  assert.equal(second.usage?.input_tokens, prompt.length, 'without the instructions of the first');
  assert.equal(second.previous_response_id, first.id);
  const counted = await client.responses.inputTokens.count({ input: 'and?', previous_response_id: first.id });
  assert.deepEqual(counted, { object: 'response.input_tokens', input_tokens: prompt.length });
  const items: Json[] = [];
  for await (const item of client.responses.inputItems.list(first.id)) items.push(item);
  assert.deepEqual([items.length, items[0].content], [1, 'hi']);
  await assert.rejects(client.responses.cancel(first.id), /Cannot cancel a synchronous response/);
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
  await assert.rejects(client.responses.create({ input: 'x', previous_response_id: first.id }), OpenAI.NotFoundError);
  const streamed = await client.responses.stream({ input: 'hi' }).finalResponse();
  assert.equal((await client.responses.retrieve(streamed.id)).output_text, 'Hello you');
  const secret = await client.responses.create({ input: 'hi', store: false });
  await assert.rejects(client.responses.retrieve(secret.id), OpenAI.NotFoundError);
});

test('of a conversation that does not fit the end is taken, where that is asked for', async () => {
  const input = 'x'.repeat(5000);
  assert.equal((await it.ask(path, { input, max_output_tokens: 4 })).status, 400);
  const { status, body } = await it.ask(path, { input, max_output_tokens: 4, truncation: 'auto' });
  assert.deepEqual([status, body.truncation, body.usage?.output_tokens], [200, 'auto', 4]);
});

test('log-probabilities, by either name', async () => {
  for (const asked of [{ include: ['message.output_text.logprobs'] }, { top_logprobs: 2 }]) {
    const { body } = await it.ask(path, { input: 'hi', max_output_tokens: 2, ...asked });
    const { logprobs } = body.output[0].content[0];
    assert.deepEqual([logprobs.length, logprobs[0].token, logprobs[0].top_logprobs.length], [2, 'H', 'top_logprobs' in asked ? 2 : 0]);
  }
});

test('the engine fails in the middle: the stream ends with response.failed', async () => {
  const failing = await fakeServer({}, { failAt: 2 });
  const events = await failing.events(path, { input: 'hi', stream: true });
  const last = events.at(-1);
  assert.deepEqual([last.type, last.response.status, last.sequence_number], ['response.failed', 'failed', events.length - 1]);
  assert.deepEqual(last.response.error, { code: 'server_error', message: 'the fake engine failed as asked' });
  assert.equal((await failing.ask(path, { input: 'hi', max_output_tokens: 5 })).status, 500);
  await failing.close();
});

test('unknown and refused fields are named, as they were given', async () => {
  const refused: readonly (readonly [object, string | null, RegExp])[] = [
    [{ zzz: 1 }, 'zzz', /Unrecognized/],
    [{ input: undefined }, 'body.input', /^input is required/],
    [{ input: [] }, null, /empty conversation/],
    [{ input: 5 }, 'body.input', /^input must be/],
    [{ input: [{ type: 'web_search_call' }] }, 'body.input.0.type', /^input\.0\.type must be one of "message", "function_call"/],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] }, 'input', /only text models/],
    [{ max_output_tokens: 0 }, 'max_output_tokens', /^max_output_tokens must be at least 1/],
    [{ temperature: 3 }, 'temperature', /^temperature must be in/],
    [{ background: true, store: false }, 'background', /needs store=true/],
    [{ truncation: 'some' }, 'body.truncation', /^truncation must be one of/],
    [{ prompt: { id: 'x' } }, 'prompt', /^prompt template is not supported/],
    [{ conversation: 'c' }, 'conversation', /not supported/],
    [{ text: { format: { type: 'xml' } } }, 'body.text.format.type', /^text\.format\.type must be/],
    [{ tools: [{ type: 'web_search' }] }, 'body.tools.0.type', /^tools\.0\.type must be/],
    [{ include: ['everything'] }, 'body.include.0', /^include\.0 must be/],
  ];
  for (const [change, param, message] of refused) {
    const { status, body } = await it.ask(path, { input: 'hi', ...change });
    assert.equal(status, 400, JSON.stringify(change));
    assert.match(body.error.message, message);
    assert.equal(body.error.param, param);
  }
  const { status } = await it.ask(`${path}/resp_nobody/cancel`, {});
  assert.equal(status, 404);
});

test("a body in chat's terms: instructions, history, format, effort, tools", () => {
  const body = {
    input: 'hi',
    instructions: 'Be brief.',
    max_output_tokens: 9,
    reasoning: { effort: 'low' },
    text: { format: { type: 'json_schema', name: 'n', schema: { type: 'string' }, strict: true } },
    tools: [{ type: 'function', name: 'look', parameters: { type: 'object' }, strict: false }],
    tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'look' }] },
    seed: 5,
  };
  const look = { type: 'function', function: { name: 'look' } };
  assert.deepEqual(responsesAsChat(body, [{ role: 'user', content: 'before' }]), {
    seed: 5,
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'before' },
      { role: 'user', content: 'hi' },
    ],
    max_completion_tokens: 9,
    reasoning_effort: 'low',
    response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'string' }, strict: true } },
    tools: [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }],
    tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [look] } },
  });
  const unfinished = { role: 'assistant', content: [{ type: 'output_text', text: 'We' }], status: 'incomplete' };
  assert.equal(responsesAsChat({ input: [{ role: 'user', content: 'hi' }, unfinished] }, [])['continue_final_message'], true);
});

test('a choice of tools where there are none', async () => {
  for (const choice of ['auto', 'none']) assert.equal((await it.ask(path, { input: 'hi', tools: [], tool_choice: choice })).status, 200);
  const { status, body } = await it.ask(path, { input: 'hi', tool_choice: 'required' });
  assert.deepEqual([status, body.error.param], [400, 'tool_choice']);
});

test('calls, reasoning and text of the assistant are one message, their outputs others', () => {
  const call = (id: string) => ({ type: 'function_call', call_id: id, name: 'look', arguments: '{}' });
  const said = (text: string) => ({ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] });
  const messages = messagesOf([
    { role: 'user', content: [{ type: 'input_text', text: 'hi' }] },
    { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
    said('let me look'),
    call('a'),
    call('b'),
    { type: 'function_call_output', call_id: 'a', output: 'found' },
    said('one'),
    said('two'),
  ]);
  const chatCall = (id: string) => ({ id, type: 'function', function: { name: 'look', arguments: '{}' } });
  assert.deepEqual(messages, [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'let me look', reasoning: 'hm', tool_calls: [chatCall('a'), chatCall('b')] },
    { role: 'tool', tool_call_id: 'a', content: 'found' },
    { role: 'assistant', content: 'one' },
    { role: 'assistant', content: 'two' },
  ]);
});

const said: readonly (readonly ParsedEvent[])[] = [
  [{ type: 'reasoning', text: 'I think' }],
  [{ type: 'content', text: 'So: ' }],
  [
    { type: 'call', index: 0, id: 'call_0', name: 'look' },
    { type: 'arguments', index: 0, text: '{"where":' },
  ],
  [{ type: 'arguments', index: 0, text: '1.0}' }],
];

test('reasoning, text and calls are items, and the same whole as streamed', async () => {
  const model = fakeModel(new FakeEngine());
  const generation = parseGeneration({}, '', model, 'chat');
  const head = { id: 'resp_1', createdAt: 1, model: 'fake', body: {}, generation };
  const kept: unknown[] = [];
  const texts = [wholeResponse, streamedResponse].map((make) => {
    const exchange = new FakeExchange();
    const answer = make({ exchange, head, model, promptLen: 7, keep: (_json, output) => kept.push(output.length) });
    said.forEach((events, i) => {
      const finishReason = i === said.length - 1 ? ('tool_calls' as const) : null;
      const delta: ChatDelta = {
        choice: 0,
        events,
        ids: [i],
        reasoningTokens: 1,
        logprobs: null,
        finishReason,
        stopReason: null,
        error: null,
      };
      answer.delta(delta);
    });
    answer.finish(noTimes);
    return exchange;
  });
  await Promise.resolve();
  const whole = JSON.parse(texts[0]!.text) as Json;
  const events = namedEvents(texts[1]!.text);
  assert.equal(whole.usage.output_tokens_details.reasoning_tokens, said.length);
  assert.equal(whole.output[2].call_id, 'call_0');
  const shape = ({ id: _id, call_id: _call, ...rest }: Json) => rest;
  assert.deepEqual(whole.output.map(shape), [
    {
      summary: [],
      type: 'reasoning',
      content: [{ text: 'I think', type: 'reasoning_text' }],
      encrypted_content: null,
      status: 'completed',
    },
    {
      content: [{ annotations: [], text: 'So: ', type: 'output_text', logprobs: null }],
      role: 'assistant',
      status: 'completed',
      type: 'message',
      phase: null,
    },
    { arguments: '{"where":1.0}', name: 'look', type: 'function_call', status: 'completed' },
  ]);
  assert.deepEqual(events.at(-1).response.output.map(shape), whole.output.map(shape));
  assert.deepEqual(kept, [3, 3]);
  const body = new Response(texts[1]!.text, { headers: { 'content-type': 'text/event-stream' } });
  const reader = new OpenAI({ apiKey: 'none', fetch: async () => body });
  const read = await reader.responses.stream({ model: 'fake', input: 'hi' }).finalResponse();
  assert.deepEqual(
    read.output.map(shape).map(({ parsed_arguments: _parsed, ...rest }: Json) => rest.type),
    ['reasoning', 'message', 'function_call'],
  );
  const about = (type: string) => events.filter((event) => event.type === type);
  assert.deepEqual(
    about('response.function_call_arguments.delta').map(({ delta }) => delta),
    ['{"where":', '1.0}'],
  );
  assert.equal(about('response.function_call_arguments.done')[0].name, 'look');
  assert.equal(about('response.reasoning_text.done')[0].text, 'I think');
  assert.equal(about('response.output_item.added').length, 3);
});

test('an id that the client chose', async () => {
  for (const text of ['one', 'two']) {
    const made = await client.responses.create({ input: text }, { headers: { 'x-request-id': 'my/own id' } });
    assert.equal(made.id, 'resp_my-own-id');
  }
  const items = await client.responses.inputItems.list('resp_my-own-id');
  assert.equal((items.data[0] as Json).content, 'two', 'the newer one takes its place');
});

test('the store has a bound, and forgets first what was not asked for longest', () => {
  const store = new ResponseStore();
  const add = (id: string, json = '{}') => store.add({ id, json, input: [], messages: [], background: null });
  for (let i = 0; i < storedResponsesMax; i++) add(`r${i}`);
  store.get('r0');
  add('one more');
  for (let i = 0; i < 10; i++) add('one more');
  assert.equal(store.get('r2').id, 'r2', 'one that takes its own place drives nobody out');
  assert.throws(() => store.get('r1'), /not found/);
  assert.equal(store.get('r0').id, 'r0');
  add('too long', 'x'.repeat(storedCharsMax));
  assert.throws(() => store.get('too long'), /not found/);
  add('long', 'x'.repeat(storedCharsMax - '[[],[]]'.length));
  assert.throws(() => store.get('r0'), /not found/);
  assert.equal(store.get('long').id, 'long');
});
