import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { noTimes } from '../../metrics/metrics.js';
import type { ParsedEvent } from '../../parsing/event-list.js';
import type { ChatDelta } from '../answer-events.js';
import { plainKeys } from '../door/keys.js';
import { FakeExchange, type FakeServer, fakeServer, type Json, namedEvents, saying } from '../fake-exchange.js';
import { streamedMessage, wholeMessage } from './answer.js';
import { messagesAsChat } from './translate.js';

const path = '/v1/messages';
const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'hi' }];
let it: FakeServer;
let client: Anthropic;

before(async () => {
  it = await fakeServer({}, saying('Hello you'));
  client = new Anthropic({ baseURL: it.url, apiKey: 'none', maxRetries: 0 });
});
after(() => it.close());

test("Anthropic's client: whole, streamed and counted", async () => {
  const whole = await client.messages.create({ model: 'fake', max_tokens: 20, messages });
  assert.deepEqual(whole.content, [{ type: 'text', text: 'Hello you' }]);
  assert.deepEqual([whole.stop_reason, whole.role, whole.type, whole.model], ['end_turn', 'assistant', 'message', 'fake']);
  assert.deepEqual(whole.usage, { input_tokens: 18, output_tokens: 10 });

  const stream = client.messages.stream({ model: 'alias', max_tokens: 5, messages });
  let text = '';
  stream.on('text', (piece) => {
    text += piece;
  });
  const streamed = await stream.finalMessage();
  assert.equal(text, 'Hello');
  assert.deepEqual(streamed.content, [{ type: 'text', text: 'Hello' }]);
  assert.deepEqual([streamed.stop_reason, streamed.usage.output_tokens], ['max_tokens', 5]);

  const counted = await client.messages.countTokens({ model: 'fake', messages, system: 'Be brief.' });
  assert.equal(counted.input_tokens, 'system:Be brief.\nuser:hi\nassistant:'.length);
});

test("Anthropic's client: errors as it knows them", async () => {
  const create = (body: object) => client.messages.create({ model: 'fake', max_tokens: 5, messages, ...body } as never);
  await assert.rejects(create({ model: 'other' }), (error: Json) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.deepEqual((error.error as Json).error.type, 'not_found_error');
    return true;
  });
  await assert.rejects(create({ max_tokens: 0 }), Anthropic.BadRequestError);
  await assert.rejects(create({ top_k: 'x' }), /top_k must be an integer/);
  const keyed = await fakeServer({ apiKeys: plainKeys(['secret']) });
  const stranger = new Anthropic({ baseURL: keyed.url, apiKey: null, authToken: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.messages.create({ model: 'fake', max_tokens: 5, messages }), Anthropic.AuthenticationError);
  for (const own of [{ apiKey: 'secret' }, { apiKey: null, authToken: 'secret' }]) {
    const known = new Anthropic({ baseURL: keyed.url, ...own, maxRetries: 0 });
    assert.equal((await known.messages.create({ model: 'fake', max_tokens: 5, messages })).stop_reason, 'max_tokens');
  }
  await keyed.close();
});

test('the engine fails in the middle: the stream ends with an error that the client throws', async () => {
  const failing = await fakeServer({}, { failAt: 3 });
  const broken = new Anthropic({ baseURL: failing.url, apiKey: 'none', maxRetries: 0 });
  await assert.rejects(
    broken.messages.stream({ model: 'fake', max_tokens: 9, messages }).finalMessage(),
    /the fake engine failed as asked/,
  );
  await failing.close();
});

test('stop sequences, sampling and a conversation that the answer goes on with', async () => {
  const { body } = await it.ask(path, { messages, max_tokens: 20, stop_sequences: ['lo'], temperature: 0, top_p: 0.5, top_k: 3 });
  assert.deepEqual([body.content[0].text, body.stop_reason, body.stop_sequence], ['Hel', 'stop_sequence', 'lo']);
  const prefilled = [...messages, { role: 'assistant', content: 'Well' }];
  const { body: more } = await it.ask('/v1/messages/count_tokens', { messages: prefilled });
  assert.equal(more.input_tokens, 'user:hi\nassistant:Well\n'.length);
});

test('cached tokens are told apart where they are told at all', async () => {
  const told = await fakeServer({ promptTokensDetails: true }, saying('x'));
  const { body } = await told.ask(path, { messages, max_tokens: 3 });
  assert.deepEqual(body.usage, { input_tokens: 18, output_tokens: 2, cache_read_input_tokens: 0 });
  await told.close();
});

test('unknown and refused fields are named, as they were given', async () => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ zzz: 1 }, /^Unrecognized request argument supplied: zzz$/],
    [{ messages: undefined }, /^messages is required/],
    [{ max_tokens: undefined }, /^max_tokens is required/],
    [{ max_tokens: 999_999 }, /max_tokens=999999 cannot be greater/],
    [{ container: 'c' }, /`container` is not supported/],
    [{ context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } }, /`context_management` is not supported/],
    [{ stop_sequences: [''] }, /^stop_sequences cannot contain an empty string/],
    [{ messages: [{ role: 'tool', content: 'x' }] }, /^messages\.0\.role must be one of/],
    [{ messages: [{ role: 'user', content: [{ type: 'text', text: 5 }] }] }, /^messages\.0\.content\.0\.text must be a string/],
    [{ messages: [{ role: 'user', content: [{ type: 'image', source: {} }] }] }, /only text models/],
    [{ messages: [{ role: 'user', content: [{ type: 'tool_use', id: 'a', name: 'f', input: {} }] }] }, /tool_use in a message of user/],
    [{ thinking: { type: 'enabled' } }, /^thinking\.budget_tokens must be/],
    [{ tools: [{ type: 'bash_20250124', name: 'bash' }] }, /^tools\.0/],
  ];
  for (const [change, message] of refused) {
    const { status, body } = await it.ask(path, { messages, max_tokens: 5, ...change });
    assert.deepEqual([status, body.type, body.error.type], [400, 'error', 'invalid_request_error'], JSON.stringify(change));
    assert.match(body.error.message, message);
  }
});

test('what asks nothing of the answer is taken', async () => {
  const nothing = {
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    metadata: { user_id: 'u' },
    cache_control: { type: 'ephemeral' },
    speed: 'standard',
    mcp_servers: [],
  };
  assert.equal((await it.ask(`${path}?beta=true`, { messages, max_tokens: 5, ...nothing })).status, 200);
});

test("a body in chat's terms: system, results of tools, calls, thoughts, choice of tools, format", () => {
  const chat = messagesAsChat(
    {
      max_tokens: 9,
      system: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b', cache_control: { type: 'ephemeral' } },
      ],
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: '' },
            { type: 'text', text: 'let me look' },
            { type: 'tool_use', id: 't1', name: 'look', input: { where: 1 } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'found' }] },
            { type: 'text', text: 'and?' },
          ],
        },
      ],
      tools: [{ name: 'look', description: 'looks', input_schema: { type: 'object' } }],
      tool_choice: { type: 'tool', name: 'look', disable_parallel_tool_use: true },
      output_config: { format: { type: 'json_schema', schema: { type: 'string' } }, effort: 'low' },
      thinking: { type: 'enabled', budget_tokens: 100 },
    },
    true,
  );
  const call = { id: 't1', type: 'function', function: { name: 'look', arguments: '{"where":1}' } };
  assert.deepEqual(chat, {
    max_tokens: 9,
    messages: [
      { role: 'system', content: 'ab' },
      { role: 'assistant', content: 'let me look', reasoning: 'hm', tool_calls: [call] },
      { role: 'tool', tool_call_id: 't1', content: 'found' },
      { role: 'user', content: 'and?' },
    ],
    tools: [{ type: 'function', function: { name: 'look', description: 'looks', parameters: { type: 'object' } } }],
    tool_choice: { type: 'function', function: { name: 'look' } },
    parallel_tool_calls: false,
    response_format: { type: 'json_schema', json_schema: { name: 'output', schema: { type: 'string' }, strict: true } },
    reasoning_effort: 'low',
    chat_template_kwargs: { enable_thinking: true },
    thinking_token_budget: 100,
  });
});

const events: readonly (readonly ParsedEvent[])[] = [
  [{ type: 'reasoning', text: 'I ' }],
  [
    { type: 'reasoning', text: 'think' },
    { type: 'content', text: 'So: ' },
  ],
  [
    { type: 'call', index: 0, id: 'toolu_0', name: 'look' },
    { type: 'arguments', index: 0, text: '{"where":' },
  ],
  [{ type: 'arguments', index: 0, text: '1.0}' }],
  [
    { type: 'call', index: 1, id: 'toolu_1', name: 'stop' },
    { type: 'arguments', index: 1, text: '{}' },
  ],
];
const deltas = events.map((each, i): ChatDelta => {
  const end = i === events.length - 1;
  return {
    choice: 0,
    events: each,
    ids: [i],
    reasoningTokens: 0,
    logprobs: null,
    finishReason: end ? 'tool_calls' : null,
    stopReason: null,
    error: null,
  };
});

test('thoughts, text and calls are blocks, and the same whole as streamed', async () => {
  const exchange = new FakeExchange();
  const parts = { id: 'm', model: 'fake', inputTokens: 7, withCached: false };
  const answer = wholeMessage({ exchange, ...parts });
  for (const delta of deltas) answer.delta(delta);
  answer.finish(noTimes);
  assert.ok(exchange.text.includes('"input":{"where":1.0}'), 'arguments stay as they were written');
  const whole = JSON.parse(exchange.text) as Json;
  const shape = (content: Json[]) => content.map(({ id: _id, ...rest }) => rest);
  assert.deepEqual(shape(whole.content), [
    { type: 'thinking', thinking: 'I think', signature: '' },
    { type: 'text', text: 'So: ' },
    { type: 'tool_use', name: 'look', input: { where: 1 } },
    { type: 'tool_use', name: 'stop', input: {} },
  ]);
  assert.deepEqual([whole.stop_reason, whole.usage], ['tool_use', { input_tokens: 7, output_tokens: 5 }]);

  const streamExchange = new FakeExchange();
  const streamed = streamedMessage({ exchange: streamExchange, ...parts });
  for (const delta of deltas) streamed.delta(delta);
  streamed.finish(noTimes);
  await Promise.resolve();
  const body = new Response(streamExchange.text, { headers: { 'content-type': 'text/event-stream' } });
  const reader = new Anthropic({ apiKey: 'none', fetch: async () => body });
  const message = await reader.messages.stream({ model: 'fake', max_tokens: 9, messages }).finalMessage();
  assert.deepEqual(shape(message.content as Json[]), shape(whole.content));
  const types = namedEvents(streamExchange.text).map(({ type }) => type);
  assert.deepEqual([types[0], types.at(-2), types.at(-1)], ['message_start', 'message_delta', 'message_stop']);
});

test('arguments that the length cut off do not break the answer', () => {
  const exchange = new FakeExchange();
  const answer = wholeMessage({ exchange, id: 'm', model: 'fake', inputTokens: 7, withCached: false });
  answer.delta({ ...deltas[2]!, finishReason: 'length' });
  answer.finish(noTimes);
  assert.deepEqual((JSON.parse(exchange.text) as Json).content[0].input, {});
});
