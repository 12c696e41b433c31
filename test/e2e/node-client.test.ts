/**
 * The official Node client. Against a running server where LOCKSTEP_TEST_URL names one (http://host:port/v1), else against one over the
 * fake engine: what the client sees must be the same.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { createServer, type HttpServer } from '../../src/api/server.js';

let server: HttpServer | null = null;
let client: OpenAI;
let baseURL: string;
let model: string;
const messages = [{ role: 'user' as const, content: 'What is Lockstep?' }];

before(async () => {
  baseURL = process.env['LOCKSTEP_TEST_URL'] ?? (await startFake());
  client = new OpenAI({ baseURL, apiKey: process.env['LOCKSTEP_TEST_KEY'] ?? 'none', maxRetries: 0 });
  model = (await client.models.list()).data[0]!.id;
});
after(() => server?.close());

async function startFake(): Promise<string> {
  server = await createServer({ host: '127.0.0.1', port: 0 });
  server.setModel(fakeModel(new FakeEngine({ stepMs: 2 })));
  return `http://127.0.0.1:${server.port}/v1`;
}

/** A gauge or counter of /metrics, summed over its labels. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${baseURL.replace(/\/v1$/, '')}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function untilIdle(): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await metric('vllm:num_requests_running')) + (await metric('vllm:num_requests_waiting')) === 0) return;
    await sleep(25);
  }
  assert.fail('requests were still running after 5 s');
}

test('chat, streamed and whole, gives the same text', async () => {
  const request = { model, messages, temperature: 0, max_tokens: 16 };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  let text = '';
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0]!.message.content);
  assert.deepEqual([usage?.prompt_tokens, usage?.completion_tokens], [whole.usage?.prompt_tokens, whole.usage?.completion_tokens]);
});

test("the client's own stream helper puts the chunks together", async () => {
  const final = await client.chat.completions.stream({ model, messages, temperature: 0, max_tokens: 8, n: 2 }).finalChatCompletion();
  assert.equal(final.choices.length, 2);
  assert.equal(final.choices[0]!.message.content, final.choices[1]!.message.content);
  assert.equal(final.choices[0]!.message.role, 'assistant');
});

test('completions of several prompts, streamed, by index', async () => {
  const stream = await client.completions.create({ model, prompt: ['a', 'b'], temperature: 0, max_tokens: 6, n: 2, stream: true });
  const finished = new Set<number>();
  for await (const chunk of stream) for (const choice of chunk.choices) if (choice.finish_reason) finished.add(choice.index);
  assert.deepEqual([...finished].sort(), [0, 1, 2, 3]);
});

test('responses and messages say what chat says, and an aborted one frees what it held', async () => {
  const chat = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 16 });
  const expected = chat.choices[0]!.message.content;
  const response = await client.responses.create({ model, input: messages[0]!.content, temperature: 0, max_output_tokens: 16 });
  assert.equal(response.output_text, expected);
  const url = baseURL.replace(/\/v1$/, '');
  const anthropic = new Anthropic({ baseURL: url, apiKey: process.env['LOCKSTEP_TEST_KEY'] ?? 'none', maxRetries: 0 });
  const body = { model, messages, max_tokens: 16, temperature: 0 };
  const message = await anthropic.messages.create(body);
  assert.deepEqual(message.content, [{ type: 'text', text: expected }]);
  for await (const _event of await client.responses.create({ model, input: 'hi', stream: true })) break;
  for await (const _event of await anthropic.messages.create({ ...body, max_tokens: 500, stream: true })) break;
  await untilIdle();
});

test('log-probabilities', async () => {
  const chat = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 4, logprobs: true, top_logprobs: 3 });
  const content = chat.choices[0]!.logprobs!.content!;
  assert.equal(content.length, chat.usage!.completion_tokens);
  for (const token of content) assert.ok(token.logprob <= 0 && token.top_logprobs.length === 3);
  const completion = await client.completions.create({ model, prompt: 'ab', temperature: 0, max_tokens: 3, logprobs: 2, echo: true });
  const { tokens, token_logprobs, text_offset, top_logprobs } = completion.choices[0]!.logprobs!;
  assert.equal(token_logprobs![0], null);
  assert.ok([tokens, token_logprobs, text_offset, top_logprobs].every((list) => list!.length === tokens!.length));
});

test('a model that generates gives no embeddings, and says so', async () => {
  await assert.rejects(client.embeddings.create({ model, input: 'a' }), (error: unknown) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.match(error.message, /does not support Embeddings API/);
    return true;
  });
});

test('models: listed, retrieved, unknown', async () => {
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve('none'), OpenAI.NotFoundError);
});

test('errors come as the classes that the client knows, and the server goes on', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'none', messages }), (error: unknown) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    assert.equal(error.param, 'model');
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model, messages, temperature: 9 }), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create({ model, messages, stream: true, n: 0 }), OpenAI.BadRequestError);
  await assert.rejects(client.completions.create({ model, prompt: 'x '.repeat(600_000) }), (error: unknown) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, 'context_length_exceeded');
    return true;
  });
  assert.equal((await client.chat.completions.create({ model, messages, max_tokens: 1 })).choices.length, 1);
});

const endless = { temperature: 1, max_tokens: 400, ignore_eos: true };

test('an aborted stream frees what it held', async () => {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    ...endless,
  } as OpenAI.ChatCompletionCreateParamsStreaming);
  for await (const _ of stream) break; // leaving the loop aborts
  await untilIdle();
});

test('a timeout aborts an answer that is not streamed', async () => {
  const params = { model, messages, ...endless, n: 8 } as OpenAI.ChatCompletionCreateParamsNonStreaming;
  await assert.rejects(client.chat.completions.create(params, { timeout: 60 }), OpenAI.APIConnectionTimeoutError);
  await untilIdle();
});

test('256 at once', async () => {
  const one = async (i: number) => {
    if (i % 2 === 0) return (await client.chat.completions.create({ model, messages, max_tokens: 4, seed: i })).choices[0]!.finish_reason;
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 4, seed: i, stream: true });
    let reason: string | null = null;
    for await (const chunk of stream) reason = chunk.choices[0]?.finish_reason ?? reason;
    return reason;
  };
  const reasons = await Promise.all(Array.from({ length: 256 }, (_, i) => one(i)));
  assert.ok(reasons.every((reason) => reason === 'length' || reason === 'stop'));
  await untilIdle();
});
