/** The request parameters that are vLLM's own, seen through the port: each has the effect that its row in `request-fields.ts` says. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createChatTemplate } from '../chat/template.js';
import type { GenerationRequest } from '../engine/request.js';
import { FakeEngine, fakeModel } from './fake-engine.js';
import { createServer, type HttpServer } from './server.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;

const source = '{% for d in documents or [] %}[{{ d.text }}]{% endfor %}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}';
const messages = [{ role: 'user', content: 'hi' }];
const seen: GenerationRequest[] = [];
let engine: FakeEngine;
let server: HttpServer;
let trusting: HttpServer;

before(async () => {
  engine = new FakeEngine({
    nextId(request, choice, position) {
      if (choice === 0 && position === 0) seen.push(request);
      return 97 + (position % 26);
    },
  });
  const template = createChatTemplate(source, { bosToken: null, eosToken: null });
  server = await createServer({ host: '127.0.0.1', port: 0 });
  server.setModel(fakeModel(engine, { template }));
  trusting = await createServer({ host: '127.0.0.1', port: 0 });
  trusting.setModel(fakeModel(engine, { template, trustRequestTemplate: true }));
});
after(async () => {
  await server.close();
  await trusting.close();
});

async function send(path: string, body: object, to = server): Promise<{ status: number; body: Json; events: Json[] }> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(`http://127.0.0.1:${to.port}${path}`, init);
  const text = await response.text();
  if (!text.startsWith('data: ')) return { status: response.status, body: JSON.parse(text), events: [] };
  const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  return { status: response.status, body: null, events: events.map((event) => JSON.parse(event.slice('data: '.length))) };
}
const chat = (body: object, to?: HttpServer) => send('/v1/chat/completions', { messages, max_tokens: 4, ...body }, to);
const complete = (body: object) => send('/v1/completions', { prompt: 'abcdef', max_tokens: 4, ...body });
const lastPrompt = () => Buffer.from(seen.at(-1)!.promptTokens).toString();

test('--enable-per-request-metrics: the times of an answer with one choice, and of no other', async () => {
  const timed = await createServer({ host: '127.0.0.1', port: 0, perRequestMetrics: true });
  timed.setModel(fakeModel(engine, { template: createChatTemplate(source, { bosToken: null, eosToken: null }) }));
  try {
    const names = ['time_to_first_token_ms', 'generation_time_ms', 'queue_time_ms', 'mean_itl_ms', 'tokens_per_second'];
    const check = (metrics: Json) => {
      for (const name of names) assert.ok(metrics[name] >= 0, `${name} ${metrics[name]}`);
      assert.ok(Math.abs(metrics.mean_itl_ms * 3 - metrics.generation_time_ms) < 1e-6);
      const seconds = (metrics.time_to_first_token_ms + metrics.generation_time_ms) / 1000;
      assert.ok(Math.abs(metrics.tokens_per_second * seconds - 4) < 1e-6);
    };
    const usage = { stream: true, stream_options: { include_usage: true } };
    const paths = { '/v1/chat/completions': { messages }, '/v1/completions': { prompt: 'ab' } };
    for (const [path, body] of Object.entries(paths)) {
      const ask = (more: object, to = timed) => send(path, { ...body, max_tokens: 4, ...more }, to);
      const { metrics } = (await ask({})).body;
      check(metrics);
      assert.deepEqual(Object.keys(metrics), [...names, 'speculative_decoding']);
      const { events } = await ask(usage);
      check(events.at(-1).metrics);
      assert.deepEqual(Object.keys(events.at(-1).metrics), names);
      assert.ok(events.slice(0, -1).every((event) => !('metrics' in event)));
      assert.equal((await ask({ n: 2 })).body.metrics, null);
      assert.equal((await ask({}, server)).body.metrics, null);
      assert.ok(!('metrics' in (await ask(usage, server)).events.at(-1)));
      assert.equal((await ask({ max_tokens: 1 })).body.metrics.mean_itl_ms, null);
    }
    assert.equal((await send('/v1/completions', { prompt: ['a', 'b'], max_tokens: 1 }, timed)).body.metrics, null);
  } finally {
    await timed.close();
  }
});

test('truncate_prompt_tokens keeps the last tokens, or with truncation_side the first', async () => {
  assert.equal((await complete({ truncate_prompt_tokens: 2, return_token_ids: true })).body.choices[0].prompt_token_ids.length, 2);
  assert.equal(lastPrompt(), 'ef');
  await complete({ truncate_prompt_tokens: 2, truncation_side: 'right' });
  assert.equal(lastPrompt(), 'ab');
  await complete({ prompt: [97, 98, 99], truncate_prompt_tokens: 1 });
  assert.equal(lastPrompt(), 'c');
  await chat({ truncate_prompt_tokens: 4 });
  assert.equal(lastPrompt(), ':hi;');
  await complete({ prompt: [257, 97, 98, 99], truncate_prompt_tokens: 3 });
  assert.deepEqual([...seen.at(-1)!.promptTokens], [257, 98, 99], 'the begin of sequence stays');
  await complete({ prompt: 'x'.repeat(5000), truncate_prompt_tokens: -1, max_tokens: 5 });
  assert.equal(seen.at(-1)!.promptTokens.length, 4096 - 5);
});

test('truncate_prompt_tokens has bounds', async () => {
  const tooLong = (await complete({ truncate_prompt_tokens: 4097 })).body.error;
  assert.match(tooLong.message, /truncate_prompt_tokens value \(4097\) is greater than max_model_len \(4096\)/);
  assert.equal((await complete({ truncate_prompt_tokens: -2 })).body.error.param, 'body.truncate_prompt_tokens');
  assert.equal((await complete({ truncation_side: 'up' })).body.error.param, 'body.truncation_side');
  assert.equal((await complete({ truncate_prompt_tokens: 0 })).body.error.param, 'prompt');
});

test('chat_template is refused, or where requests are trusted taken in place of the own', async () => {
  for (const body of [{ chat_template: 'x' }, { chat_template_kwargs: { chat_template: 'x' } }]) {
    assert.match((await chat(body)).body.error.message, /--trust-request-chat-template is not set/);
  }
  for (let i = 0; i < 2; i++) {
    await chat({ chat_template: '<{{ messages[0].content }}>' }, trusting);
    assert.equal(lastPrompt(), '<hi>');
  }
  const broken = await chat({ chat_template: '{% if %}' }, trusting);
  assert.deepEqual([broken.status, broken.body.error.param], [400, 'chat_template']);
});

test('documents reach the template', async () => {
  await chat({ documents: [{ text: 'one' }, { text: 'two' }] });
  assert.equal(lastPrompt(), '[one][two]user:hi;');
  assert.equal((await chat({ documents: [{ text: 5 }] })).body.error.param, 'body.documents.0.text');
});

test('return_prompt_text: the prompt as the template made it, whole or with the first event', async () => {
  assert.equal((await chat({ return_prompt_text: true })).body.prompt_text, 'user:hi;');
  assert.equal((await chat({})).body.prompt_text, null);
  const { events } = await chat({ return_prompt_text: true, stream: true });
  assert.equal(events[0].prompt_text, 'user:hi;');
});

test('return_tokens_as_token_ids names the tokens of log-probabilities by their ids', async () => {
  const [first] = (await chat({ logprobs: true, top_logprobs: 2, return_tokens_as_token_ids: true })).body.choices[0].logprobs.content;
  assert.deepEqual([first.token, first.top_logprobs.map(({ token }: Json) => token)], ['token_id:97', ['token_id:97', 'token_id:98']]);
  assert.deepEqual(first.bytes, [97]);
  const { logprobs } = (await complete({ logprobs: 1, echo: true, return_tokens_as_token_ids: true })).body.choices[0];
  assert.deepEqual(logprobs.tokens.slice(0, 2), ['token_id:97', 'token_id:98']);
  assert.deepEqual(logprobs.text_offset.slice(0, 3), [0, 1, 2]);
  assert.ok('token_id:98' in logprobs.top_logprobs[1]);
});

test('stream_interval: the first token at once, then so many at a time, then the rest', async () => {
  const body = { stream: true, stream_interval: 3, max_tokens: 9, n: 2, temperature: 1, logprobs: true, return_token_ids: true };
  const { events } = await chat(body);
  for (const index of [0, 1]) {
    const own = events.map(({ choices }) => choices[0]).filter((choice) => choice.index === index);
    assert.deepEqual(own.map(({ delta }) => delta.content.length).slice(1), [1, 3, 3, 2]);
    assert.deepEqual(own.map(({ token_ids }) => token_ids?.length ?? 0).slice(1), [1, 3, 3, 2]);
    assert.deepEqual(own.map(({ logprobs }) => logprobs?.content.length ?? 0).slice(1), [1, 3, 3, 2]);
    assert.equal(own.at(-1).finish_reason, 'length');
  }
  assert.equal((await chat({ stream_interval: 0 })).body.error.param, 'body.stream_interval');
});

test('echo in chat: the last message, where its role is the one that answers', async () => {
  const started = [...messages, { role: 'assistant', content: 'well, ' }];
  const going = { messages: started, echo: true, continue_final_message: true, add_generation_prompt: false };
  const whole = (await chat(going)).body;
  assert.equal(whole.choices[0].message.content, 'well, abcd');
  assert.equal(whole.prompt_logprobs.length, seen.at(-1)!.promptTokens.length);
  assert.equal((await chat({ echo: true })).body.choices[0].message.content, 'abcd');
  for (const n of [1, 2]) {
    const { events } = await chat({ ...going, stream: true, n });
    const texts = Array.from({ length: n }, () => '');
    for (const { choices } of events) texts[choices[0].index] += choices[0].delta.content ?? '';
    assert.deepEqual(texts, Array(n).fill('well, abcd'));
  }
});

test('repetition_detection ends what goes round in circles', async () => {
  engine.options = { nextId: (_request, _choice, position) => 97 + (position % 2) };
  const asked = { repetition_detection: { max_pattern_size: 4, min_count: 3 }, max_tokens: 50 };
  const [choice] = (await complete(asked)).body.choices;
  assert.deepEqual([choice.text, choice.finish_reason, choice.stop_reason], ['ababab', 'repetition', 'repetition_detected']);
  const none = (await complete({ repetition_detection: { min_count: 3 } })).body.choices[0];
  assert.equal(none.finish_reason, 'length');
  const wrong = async (given: object) => (await complete({ repetition_detection: given })).body.error.param;
  assert.equal(await wrong({ max_pattern_size: 4, min_count: 1 }), 'repetition_detection.min_count');
  assert.equal(await wrong({ max_pattern_size: 4, min_pattern_size: 5, min_count: 2 }), 'repetition_detection.min_pattern_size');
  assert.equal(await wrong({ max_pattern_size: 4000 }), 'body.repetition_detection.max_pattern_size');
  assert.equal(await wrong({ size: 4 }), 'repetition_detection.size');
});

test('log-probabilities of the whole vocabulary are more than --max-logprobs allows', async () => {
  assert.match(
    (await complete({ logprobs: -1 })).body.error.message,
    /Requested sample logprobs of 258, which is greater than max allowed: 20/,
  );
  assert.match((await complete({ prompt_logprobs: -1 })).body.error.message, /Requested prompt logprobs of 258/);
  assert.equal((await complete({ prompt_logprobs: -2 })).body.error.param, 'prompt_logprobs');
});

test('use_beam_search: n beams on both routes, whole or streamed', async () => {
  engine.options = { nextId: () => 97 };
  const whole = (await complete({ use_beam_search: true, n: 3, max_tokens: 3, logprobs: 1, prompt_logprobs: 1 })).body;
  const texts = whole.choices.map(({ text }: Json) => text);
  assert.equal(new Set(texts).size, 3);
  assert.equal(whole.usage.completion_tokens, 9);
  assert.equal(whole.choices[0].logprobs.tokens.length, 3);
  assert.equal(whole.choices[0].prompt_logprobs.length, 6);
  const { events } = await complete({ use_beam_search: true, n: 3, max_tokens: 3, stream: true });
  assert.deepEqual(
    events.map(({ choices }) => choices[0].text),
    texts,
  );
  assert.equal((await chat({ use_beam_search: true, n: 2, length_penalty: 0.5 })).body.choices.length, 2);
  assert.equal((await chat({ use_beam_search: true, stop: 'x' })).body.error.param, 'stop');
  assert.equal((await chat({ use_beam_search: true, n: 65 })).body.error.param, 'n');
  const formed = await chat({ use_beam_search: true, response_format: { type: 'json_object' } });
  assert.ok(formed.status === 400, JSON.stringify(formed.body));
  assert.equal((await chat({ use_beam_search: true, stop: [], logit_bias: {}, repetition_penalty: 1 })).status, 200);
});

test('logprob_token_ids: the log-probabilities of these tokens, in place of the likeliest', async () => {
  engine.options = { nextId: () => 97 };
  const asked = { logprobs: true, logprob_token_ids: [120, 5] };
  const [first] = (await chat(asked)).body.choices[0].logprobs.content;
  assert.deepEqual([first.token, first.top_logprobs.map(({ token }: Json) => token)], ['a', ['x', '\u0005']]);
  const { top_logprobs } = (await complete({ ...asked, logprobs: 0 })).body.choices[0].logprobs;
  assert.deepEqual(Object.keys(top_logprobs[0]).sort(), ['\u0005', 'a', 'x']);
  const paramOf = async (body: object) => (await chat(body)).body.error.param;
  assert.equal(await paramOf({ logprob_token_ids: [1] }), 'logprob_token_ids');
  assert.equal(await paramOf({ logprobs: true, logprob_token_ids: [258] }), 'logprob_token_ids');
  assert.equal(await paramOf({ logprobs: true, logprob_token_ids: [] }), 'body.logprob_token_ids');
  assert.equal(await paramOf({ ...asked, use_beam_search: true }), 'logprob_token_ids');
});
