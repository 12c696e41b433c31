import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { GenerationRequest } from '../engine/request.js';
import { FakeEngine, fakeModel } from './fake-engine.js';
import { sharedFields } from './request-fields.js';
import { createServer, type HttpServer } from './server.js';

const chatPath = '/v1/chat/completions';
const completionPath = '/v1/completions';
const messages = [{ role: 'user', content: 'hi' }];
let server: HttpServer;
let engine: FakeEngine;

before(async () => {
  engine = new FakeEngine();
  server = await createServer({ host: '127.0.0.1', port: 0 });
  server.setModel(fakeModel(engine));
});
after(() => server.close());

interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | number | null;
}

const post = (path: string, body: string | Uint8Array, contentType = 'application/json') =>
  fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', headers: { 'content-type': contentType }, body: body as string });

async function refusal(path: string, body: unknown): Promise<Refusal> {
  const before = engine.numSubmitted;
  const response = await post(path, typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body));
  const text = await response.text();
  assert.ok(response.status >= 400, `was answered: ${text.slice(0, 200)}`);
  assert.equal(engine.numSubmitted, before, 'a refused request touches nothing');
  const { error } = JSON.parse(text) as { error: Omit<Refusal, 'status'> };
  return { ...error, status: response.status };
}

/** [what, path, body, parameter, words of the message] */
const refused: readonly (readonly [string, string, unknown, string | null, RegExp])[] = [
  ['broken JSON', chatPath, '{"messages": [', 'body.14', /not valid JSON/],
  ['an empty body', chatPath, '', 'body.0', /not valid JSON/],
  ['no object', chatPath, '"hi"', 'body', /must be a JSON object/],
  ['NaN', chatPath, '{"messages": [], "temperature": NaN}', 'body', /not valid JSON/],
  ['a number beyond all bounds', completionPath, '{"prompt": "a", "temperature": 1e999}', 'body.temperature', /too large/],
  ['a lone surrogate', completionPath, '{"prompt": "a\\ud800b"}', 'body.prompt', /lone surrogate/],
  [
    'a lone surrogate in a message',
    chatPath,
    '{"messages": [{"role": "user", "content": "\\udc00"}]}',
    'body.messages.0.content',
    /lone surrogate/,
  ],
  ['bytes that are no UTF-8', completionPath, Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 'body', /UTF-8/],
  ['5,000 levels of lists', chatPath, `{"messages": ${'['.repeat(5000)}${']'.repeat(5000)}}`, 'body.messages', /nested more than 128/],
  [
    '5,000 levels of objects',
    chatPath,
    `{"metadata": ${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`,
    'body.metadata',
    /nested more than 128/,
  ],
  ['100,000 levels', chatPath, '['.repeat(100_000), 'body.100000', /not valid JSON/],
  ['an unknown field', chatPath, { messages, zzz: 1 }, 'zzz', /^Unrecognized request argument supplied: zzz$/],
  ['__proto__', chatPath, '{"__proto__": {"messages": []}}', '__proto__', /Unrecognized/],
  ['an unknown stream option', chatPath, { messages, stream: true, stream_options: { x: 1 } }, 'stream_options.x', /Unrecognized/],
  ['no messages', chatPath, {}, 'body.messages', /messages is required/],
  ['messages that are text', chatPath, { messages: 'hi' }, 'body.messages', /must be a list of messages/],
  ['a message that is text', chatPath, { messages: ['hi'] }, 'body.messages.0', /must be an object/],
  ['content of a wrong type', chatPath, { messages: [{ role: 'user', content: 5 }] }, 'body.messages.0.content', /text or a list of parts/],
  [
    'a part without text',
    chatPath,
    { messages: [{ role: 'user', content: [{ type: 'text' }] }] },
    'body.messages.0.content.0.text',
    /must be a string/,
  ],
  [
    'an unknown part',
    chatPath,
    { messages: [{ role: 'user', content: [{ type: 'smell' }] }] },
    'messages.0.content',
    /Unknown part type: smell/,
  ],
  ['tool calls of a wrong type', chatPath, { messages: [{ role: 'assistant', tool_calls: 5 }] }, 'body.messages.0.tool_calls', /a list/],
  ['temperature as text', chatPath, { messages, temperature: 'hot' }, 'body.temperature', /must be a number/],
  ['max_tokens as a fraction', chatPath, { messages, max_tokens: 1.5 }, 'body.max_tokens', /must be an integer/],
  ['stream as a number', chatPath, { messages, stream: 1 }, 'body.stream', /true or false/],
  ['stop with a number', chatPath, { messages, stop: ['a', 5] }, 'body.stop.1', /must be a string/],
  ['too many stops', chatPath, { messages, stop: Array(129).fill('a') }, 'body.stop', /at most 128/],
  ['temperature -1', chatPath, { messages, temperature: -1 }, 'temperature', /temperature must be in \[0, 2\], got -1\.0\./],
  ['n 0', chatPath, { messages, n: 0 }, null, /n must be at least 1, got 0\./],
  ['n 100000', chatPath, { messages, n: 100_000 }, 'n', /n must be at most/],
  ['min_p 2', chatPath, { messages, min_p: 2 }, null, /min_p must be in \[0, 1\], got 2\.0\./],
  ['repetition_penalty 0', chatPath, { messages, repetition_penalty: 0 }, null, /greater than zero, got 0\.0\./],
  ['frequency_penalty 3', chatPath, { messages, frequency_penalty: 3 }, null, /frequency_penalty must be in \[-2, 2\], got 3\.0\./],
  ['min_tokens above max_tokens', chatPath, { messages, min_tokens: 9, max_tokens: 8 }, null, /less than or equal to max_tokens=8, got 9/],
  [
    'a seed of 65 bits',
    chatPath,
    '{"messages": [{"role": "user", "content": "a"}], "seed": 9223372036854775808}',
    'body.seed',
    /less than or equal to 9223372036854775807/,
  ],
  [
    'a seed below',
    chatPath,
    '{"messages": [{"role": "user", "content": "a"}], "seed": -9223372036854775809}',
    'body.seed',
    /greater than or equal to -9223372036854775808/,
  ],
  ['logit_bias of text', chatPath, { messages, logit_bias: { 5: 'x' } }, 'body.logit_bias.5', /must be a number/],
  ['logprobs in chat as a number', chatPath, { messages, logprobs: 3 }, 'body.logprobs', /true or false/],
  ['logprobs in completions as a boolean', completionPath, { prompt: 'a', logprobs: true }, 'body.logprobs', /must be an integer/],
  ['priority without its policy', chatPath, { messages, priority: 5 }, 'priority', /Priority scheduling is not enabled/],
  [
    'prompt_logprobs of a stream',
    chatPath,
    { messages, stream: true, prompt_logprobs: 2 },
    'prompt_logprobs',
    /not available when `stream=True`/,
  ],
  ['an empty prompt', completionPath, { prompt: '' }, 'prompt', /non-empty/],
  ['a conversation cut to nothing', chatPath, { messages, truncate_prompt_tokens: 0 }, 'messages', /cannot be empty/],
  ['an empty prompt in a list', completionPath, { prompt: ['a', ''] }, 'prompt', /cannot be empty/],
  ['an empty list of ids', completionPath, { prompt: [[]] }, 'prompt', /cannot be empty/],
  ['ids and texts mixed', completionPath, { prompt: [1, 'a'] }, 'body.prompt.1', /token id/],
  ['an id outside the vocabulary', completionPath, { prompt: [1, 258] }, null, /^Token id 258 is out of vocabulary$/],
  ['an id of 2^40', completionPath, { prompt: [2 ** 40] }, null, /out of vocabulary/],
  ['a fraction as an id', completionPath, { prompt: [1, 2.5] }, 'body.prompt.1', /token id/],
  [
    'a prompt too long',
    completionPath,
    { prompt: 'x'.repeat(5000) },
    'input_tokens',
    /maximum context length is 4096 tokens.*at least 4097 input tokens/,
  ],
  [
    'prompt and output too long',
    completionPath,
    { prompt: 'x'.repeat(4000), max_tokens: 200 },
    'input_tokens',
    /200 output tokens .* 4000 input tokens, for a total of at least 4200/,
  ],
  [
    'a prompt that leaves no room',
    chatPath,
    { messages: [{ role: 'user', content: 'x'.repeat(4080) }] },
    'input_tokens',
    /maximum context length/,
  ],
  ['store', chatPath, { messages, store: true }, 'store', /`store` is not supported/],
  ['detokenize outside the vocabulary', '/detokenize', { tokens: [999] }, null, /out of vocabulary/],
  ['detokenize nothing', '/detokenize', {}, 'body.tokens', /tokens is required/],
  ['tokenize nothing', '/tokenize', {}, 'body.prompt', /must be a string/],
];

for (const [what, path, body, param, message] of refused) {
  test(`refused: ${what}`, async () => {
    const error = await refusal(path, body);
    assert.equal(error.status, 400, error.message);
    assert.equal(error.param, param, error.message);
    assert.match(error.message, message);
    assert.ok(['Bad Request', 'BadRequestError'].includes(error.type));
  });
}

test('a reply does not repeat a long request', async () => {
  for (const body of [
    { messages, ['z'.repeat(1 << 20)]: 1 },
    { messages, model: 'm'.repeat(1 << 20) },
  ]) {
    const response = await post(chatPath, JSON.stringify(body));
    assert.ok(response.status >= 400);
    assert.ok((await response.text()).length < 8192);
  }
});

test('the context error has the code that OpenAI clients look for', async () => {
  assert.equal((await refusal(completionPath, { prompt: 'x'.repeat(5000) })).code, 'context_length_exceeded');
});

test('every refused field of the table is refused by name, and its neutral values pass', async () => {
  for (const field of sharedFields.filter(({ use }) => use === 'refused')) {
    const isChat = field.routes.includes('chat');
    const [path, base] = isChat ? [chatPath, { messages }] : [completionPath, { prompt: 'a' }];
    const error = await refusal(path, { ...base, [field.name]: 'something' });
    assert.equal(error.param, field.name);
    for (const neutral of [null, ...(field.neutral ?? [])]) {
      const response = await post(path, JSON.stringify({ ...base, max_tokens: 1, [field.name]: neutral }));
      assert.equal(response.status, 200, `${field.name} ${JSON.stringify(neutral)}: ${await response.text()}`);
    }
  }
});

test('fields that ask nothing of the output are accepted', async () => {
  const body = {
    messages,
    max_tokens: 1,
    user: 'u',
    metadata: { a: 'b' },
    store: false,
    service_tier: 'auto',
    safety_identifier: 's',
    prompt_cache_key: 'k',
  };
  assert.equal((await post(chatPath, JSON.stringify(body))).status, 200);
});

test('what vllm-router adds to every request asks for nothing; its other values do', async () => {
  const added = { ignore_eos: false, skip_special_tokens: true, no_stop_trim: false, return_hidden_states: false, stream: false };
  const chat = { messages, max_tokens: 1, ...added, separate_reasoning: true, stream_reasoning: true, include_reasoning: true };
  assert.equal((await post(chatPath, JSON.stringify({ ...chat, logprobs: false, continue_final_message: false }))).status, 200);
  assert.equal((await post(completionPath, JSON.stringify({ prompt: 'a', max_tokens: 1, ...added, echo: false }))).status, 200);
  for (const name of ['no_stop_trim', 'return_hidden_states', 'separate_reasoning', 'stream_reasoning'] as const) {
    const { status, param, message } = await refusal(chatPath, { ...chat, [name]: !chat[name] });
    assert.deepEqual([status, param], [400, name]);
    assert.match(message, /is not supported by this server/);
  }
});

test('--unknown-fields warn lets them pass, with a Warning header', async () => {
  const lenient = await createServer({ host: '127.0.0.1', port: 0, unknownFields: 'warn' });
  lenient.setModel(fakeModel(new FakeEngine()));
  const response = await fetch(`http://127.0.0.1:${lenient.port}${chatPath}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages, max_tokens: 1, zzz: 1, 'ü"\n': 2 }),
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('warning') ?? '', /299 lockstep "Unrecognized request argument supplied: zzz"/);
  await lenient.close();
});

test('--error-code-style vllm: the code is the status', async () => {
  const integers = await createServer({ host: '127.0.0.1', port: 0, errorCodeStyle: 'vllm' });
  integers.setModel(fakeModel(new FakeEngine()));
  const response = await fetch(`http://127.0.0.1:${integers.port}/v1/models/none`);
  assert.equal(((await response.json()) as { error: { code: number } }).error.code, 404);
  await integers.close();
});

test('text whose token the model has no row for is refused', async () => {
  const short = await createServer({ host: '127.0.0.1', port: 0 });
  short.setModel(fakeModel(new FakeEngine(), { vocabSize: 122 })); // up to y; the tokenizer goes on to z
  const bodies = { [chatPath]: { messages: [{ role: 'user', content: 'fuzz' }] }, [completionPath]: { prompt: 'fuzz' } };
  for (const [path, body] of Object.entries(bodies)) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...body, max_tokens: 1 }) };
    const response = await fetch(`http://127.0.0.1:${short.port}${path}`, init);
    assert.equal(response.status, 400);
    assert.match(await response.text(), /"Token id 122 is out of vocabulary"/);
  }
  await short.close();
});

test('another content type is refused', async () => {
  const response = await post(chatPath, '{}', 'text/plain');
  assert.equal(response.status, 400);
  assert.match(await response.text(), /Only 'application\/json' is allowed/);
});

test('seeds have 64 bits', async () => {
  const seen: (bigint | null)[] = [];
  engine.options = { nextId: ({ sampling }) => 96 + Math.min(1, seen.push(sampling.seed)) };
  for (const seed of ['9007199254740993', '-9223372036854775808', '9223372036854775807', '-1', 'null']) {
    const body = `{"messages": [{"role": "user", "content": "\\"seed\\": 4"}], "max_tokens": 1, "seed": ${seed}}`;
    assert.equal((await post(chatPath, body)).status, 200);
  }
  engine.options = {};
  assert.deepEqual(seen, [9007199254740993n, -9223372036854775808n, 9223372036854775807n, null, null]);
});

test("the model author's sampling defaults: below the request, above the built-in ones", async () => {
  const seen: GenerationRequest[] = [];
  const author = new FakeEngine({ nextId: (request) => 96 + Math.min(1, seen.push(request)) });
  const tuned = await createServer({ host: '127.0.0.1', port: 0 });
  tuned.setModel(fakeModel(author, { defaults: { eosTokenIds: [256], temperature: 0.6, topP: 0.9, topK: 20, maxNewTokens: 7 } }));
  const send = async (body: object) => {
    const url = `http://127.0.0.1:${tuned.port}${chatPath}`;
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ messages, ...body }) };
    assert.equal((await fetch(url, init)).status, 200);
    const { sampling, stop } = seen.at(-1)!;
    return [sampling.temperature, sampling.topP, sampling.topK, sampling.minP, stop.maxTokens];
  };
  assert.deepEqual(await send({}), [0.6, 0.9, 20, 0, 7]);
  assert.deepEqual(await send({ temperature: 0.001, top_k: -1, top_p: null, max_tokens: 9 }), [0.01, 0.9, 0, 0, 9]);
  assert.deepEqual(await send({ temperature: 0, max_completion_tokens: 3, max_tokens: 9 }), [0, 0.9, 20, 0, 3]);
  await tuned.close();
});
