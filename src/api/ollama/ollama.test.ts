import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ollama } from 'ollama';
import { noTimes } from '../../metrics/metrics.js';
import type { ParsedEvent } from '../../parsing/event-list.js';
import { FakeEngine, fakeModel } from '../fake-engine.js';
import { FakeExchange, type FakeServer, fakeServer, type Json, saying } from '../fake-exchange.js';
import { chatShape, streamedOllama, wholeOllama } from './answer.js';
import { shortCount } from './models.js';
import { ollamaChatAsChat, ollamaGenerateAsChat } from './translate.js';

const messages = [{ role: 'user', content: 'hi' }];
let it: FakeServer;
let client: Ollama;

before(async () => {
  it = await fakeServer({}, saying('Hello you'));
  client = new Ollama({ host: it.url });
});
after(() => it.close());

test("Ollama's client: chat, whole and streamed", async () => {
  const whole = await client.chat({ model: 'fake:latest', messages, stream: false });
  assert.deepEqual([whole.message, whole.done, whole.done_reason], [{ role: 'assistant', content: 'Hello you' }, true, 'stop']);
  assert.deepEqual([whole.prompt_eval_count, whole.eval_count], [18, 10]);
  assert.ok(whole.total_duration >= whole.eval_duration && whole.eval_duration > 0);
  let text = '';
  let last: Json = null;
  for await (const part of await client.chat({ model: 'fake', messages, stream: true, options: { num_predict: 5 } })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, 'Hello');
  assert.deepEqual([last.done, last.done_reason, last.eval_count], [true, 'length', 5]);
});

test("Ollama's client: generate, with the template and raw", async () => {
  const whole = await client.generate({ model: 'fake', prompt: 'hi', system: 'Be brief.', stream: false });
  assert.deepEqual([whole.response, whole.prompt_eval_count], ['Hello you', 'system:Be brief.\nuser:hi\nassistant:'.length]);
  const raw = await client.generate({ model: 'fake', prompt: 'hi', raw: true, stream: false });
  assert.deepEqual([raw.response, raw.prompt_eval_count], ['Hello you', 2]);
  let text = '';
  for await (const part of await client.generate({ model: 'fake', prompt: 'hi', stream: true })) text += part.response;
  assert.equal(text, 'Hello you');
});

test('a bare curl says that it sends a form, and is answered; a page of another site that says so is not', async () => {
  const body = JSON.stringify({ model: 'fake', prompt: 'hi', stream: false });
  const send = (headers: Record<string, string>, path = '/api/generate') => fetch(it.url + path, { method: 'POST', headers, body });
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await send(form);
  assert.deepEqual([answer.status, ((await answer.json()) as Json).response], [200, 'Hello you']);
  assert.equal((await send({ ...form, origin: 'http://elsewhere.example' })).status, 400);
  assert.equal((await send(form, '/v1/completions')).status, 400);
});

test("Ollama's client: what is served", async () => {
  const { models } = await client.list();
  assert.deepEqual(
    models.map(({ name }) => name),
    ['fake', 'alias'],
  );
  assert.deepEqual(
    [models[0]?.size, models[0]?.details.parameter_size, models[0]?.details.quantization_level],
    [3_000_000, '1.5M', 'BF16'],
  );
  assert.equal((await client.ps()).models.length, 2);
  const shown = (await client.show({ model: 'fake' })) as Json;
  assert.deepEqual([shown.model_info['general.architecture'], shown.model_info['fake.context_length']], ['fake', 4096]);
  assert.deepEqual(await client.version(), { version: '1.2.3' });
  assert.deepEqual([1_234_567_890, 134_515_008, 900].map(shortCount), ['1.2346B', '134.52M', '900']);
});

test('nothing asked for: the model is there', async () => {
  const { body } = await it.ask('/api/chat', { model: 'fake' });
  assert.deepEqual([body.message, body.done, body.done_reason], [{ role: 'assistant', content: '' }, true, 'load']);
  assert.equal((await it.ask('/api/generate', { model: 'fake', keep_alive: -1 })).body.response, '');
});

test('log-probabilities', async () => {
  const { body } = await it.ask('/api/chat', { model: 'fake', messages, stream: false, top_logprobs: 2, options: { num_predict: 2 } });
  assert.deepEqual([body.logprobs.length, body.logprobs[0].token, body.logprobs[0].top_logprobs.length], [2, 'H', 2]);
});

test('errors: a message alone, and what is refused by name', async () => {
  await assert.rejects(client.chat({ model: 'other', messages }), /The model `other` does not exist/);
  const refused: readonly (readonly [string, object, RegExp])[] = [
    ['/api/chat', { zzz: 1 }, /Unrecognized request argument supplied: zzz/],
    ['/api/chat', { model: undefined }, /^model is required/],
    ['/api/chat', { options: { mirostat: 2 } }, /^options\.mirostat must be/],
    ['/api/chat', { options: { what: 2 } }, /options\.what/],
    ['/api/chat', { options: { top_p: 7 } }, /^options\.top_p must be in/],
    ['/api/chat', { options: { num_predict: 0 } }, /^options\.num_predict must be at least 1/],
    ['/api/chat', { messages: [{ role: 'user', content: 'x', images: ['a'] }] }, /Images are not served/],
    ['/api/generate', { messages: undefined, prompt: 'a', suffix: 'b' }, /`suffix` is not supported/],
    ['/api/generate', { messages: undefined, prompt: 'a', system: 'b', raw: true }, /With raw there is no system message/],
  ];
  for (const [path, change, message] of refused) {
    const { status, body } = await it.ask(path, { model: 'fake', messages, ...change });
    assert.deepEqual([status, Object.keys(body)], [400, ['error']], JSON.stringify(change));
    assert.match(body.error, message);
  }
});

test('the engine fails in the middle: the last line is the error, which the client throws', async () => {
  const failing = await fakeServer({}, { failAt: 3 });
  const broken = new Ollama({ host: failing.url });
  const read = async () => {
    for await (const _part of await broken.chat({ model: 'fake', messages, stream: true }));
  };
  await assert.rejects(read(), /the fake engine failed as asked/);
  await failing.close();
});

test("bodies in chat's terms", () => {
  const call = { function: { name: 'look', arguments: { where: 1 } } };
  const chat = ollamaChatAsChat({
    messages: [
      { role: 'assistant', content: '', thinking: 'hm', tool_calls: [call] },
      { role: 'tool', content: 'found', tool_name: 'look' },
    ],
    tools: [{ type: 'function', function: { name: 'look' } }],
    options: { repeat_penalty: 1.1, num_predict: 7, stop: ['x'], num_ctx: 2048, seed: 3 },
    format: { type: 'object' },
    think: 'low',
    truncate: true,
  });
  assert.deepEqual(chat, {
    seed: 3,
    stop: ['x'],
    repetition_penalty: 1.1,
    max_completion_tokens: 7,
    response_format: { type: 'json_schema', json_schema: { name: 'format', schema: { type: 'object' }, strict: true } },
    reasoning_effort: 'low',
    truncate_prompt_tokens: -1,
    messages: [
      {
        role: 'assistant',
        content: '',
        reasoning: 'hm',
        tool_calls: [{ id: 'call_0_0', type: 'function', function: { name: 'look', arguments: '{"where":1}' } }],
      },
      { role: 'tool', content: 'found', name: 'look' },
    ],
    tools: [{ type: 'function', function: { name: 'look' } }],
  });
  assert.deepEqual(ollamaGenerateAsChat({ prompt: 'hi', format: 'json', think: false, options: { num_predict: -1 } }), {
    response_format: { type: 'json_object' },
    chat_template_kwargs: { enable_thinking: false },
    messages: [{ role: 'user', content: 'hi' }],
  });
});

const said: readonly (readonly ParsedEvent[])[] = [
  [{ type: 'reasoning', text: 'I think' }],
  [{ type: 'content', text: 'So: ' }],
  [
    { type: 'call', index: 0, id: 'call_0', name: 'look' },
    { type: 'arguments', index: 0, text: '{"where":' },
  ],
  [{ type: 'arguments', index: 0, text: '1}' }],
];

test('reasoning, text and calls, which come whole, are the same whole as streamed', async () => {
  const model = fakeModel(new FakeEngine());
  const texts = [wholeOllama, streamedOllama].map((make) => {
    const exchange = new FakeExchange();
    const answer = make({ exchange, model, promptLen: 7, arrivalMs: performance.now(), shape: chatShape });
    said.forEach((events, i) => {
      const finishReason = i === said.length - 1 ? ('tool_calls' as const) : null;
      answer.delta({
        choice: 0,
        events,
        ids: [i],
        reasoningTokens: 0,
        logprobs: null,
        finishReason,
        stopReason: null,
        error: null,
      });
    });
    answer.finish(noTimes);
    return exchange;
  });
  await Promise.resolve();
  const whole = JSON.parse(texts[0]!.text) as Json;
  const calls = [{ id: 'call_0', function: { index: 0, name: 'look', arguments: { where: 1 } } }];
  assert.deepEqual(whole.message, { role: 'assistant', content: 'So: ', thinking: 'I think', tool_calls: calls });
  assert.equal(whole.done_reason, 'stop');
  const lines = texts[1]!.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Json);
  assert.deepEqual(
    lines.map(({ message: { role: _role, ...rest } }) => rest),
    [{ content: '', thinking: 'I think' }, { content: 'So: ' }, { content: '', tool_calls: calls }, { content: '' }],
  );
});
