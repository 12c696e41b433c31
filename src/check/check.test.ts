/** The check against servers of tests: what vLLM was recorded to answer, and servers that refuse, fail or answer nonsense. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '../api/json-object.js';
import { LockstepError } from '../errors.js';
import { type CheckReport, type CheckSettings, check } from './check.js';
import type { Exchange } from './exchange.js';
import { formatReport, jsonReport } from './report.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Reply = { readonly status: number; readonly body?: unknown; readonly events?: readonly unknown[] } | 'die';

async function serving(reply: (method: string, path: string, body: unknown) => Reply): Promise<URL> {
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const answer = reply(request.method ?? '', request.url ?? '', text === '' ? undefined : JSON.parse(text));
    if (answer === 'die') return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': answer.events ? 'text/event-stream' : 'application/json' });
    const events = answer.events?.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`);
    response.end(events?.join('') ?? JSON.stringify(answer.body));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

const request = (method: string, path: string, body?: unknown, status?: number): Exchange => ({
  time: '2026-01-01T00:00:00.000Z',
  method,
  path,
  headers: { 'content-type': 'application/json' },
  ...(body === undefined ? {} : { body }),
  response: status === undefined ? null : { status, contentType: 'application/json', ms: 1, isWhole: true, body: {} },
});

const run = (base: URL, exchanges: readonly Exchange[], changes: Partial<CheckSettings> = {}): Promise<CheckReport> =>
  check({
    exchanges,
    target: { base, apiKey: null, model: null, timeoutMs: 5000 },
    reference: "OpenAI's documentation",
    probes: true,
    accepted: [],
    onProgress: () => {},
    ...changes,
  });

const differencesOf = ({ parameters, shapes }: CheckReport) =>
  [...parameters, ...shapes].filter(({ isDifference }) => isDifference).map(({ name }) => name);

describe('what vLLM 0.32.0 was recorded to answer', () => {
  interface Case {
    readonly name: string;
    readonly method?: string;
    readonly path: string;
    readonly body?: unknown;
    readonly response: { readonly status: number; readonly body?: unknown; readonly events?: readonly unknown[] };
  }
  const cases = JSON.parse(readFileSync('test/fixtures/vllm-answers/cases.json', 'utf8')) as Case[];
  const methodOf = ({ method, body }: Case) => method ?? (body === undefined ? 'GET' : 'POST');
  const exchanges = cases.map((each) => request(methodOf(each), each.path, each.body));
  const vllm = () =>
    serving((method, path, body) => {
      const found = cases.find((each) => methodOf(each) === method && each.path === path && isDeepStrictEqual(each.body, body));
      return found?.response ?? { status: 503, body: { error: { message: 'not recorded', type: 'x', param: null, code: null } } };
    });

  test('differs from the documentation of OpenAI in so many ways', async () => {
    const report = await run(await vllm(), exchanges);
    const found = differencesOf(report);
    for (const name of [
      'chat.n', // refused at temperature 0
      'chat.zzz', // ignored
      'chat.logprobs',
      'chat.stream_options',
      'chat:choices[].message.annotations',
      'chat:choices[].message.function_call',
      'chat:choices[].logprobs.refusal',
      'chat:usage.prompt_tokens_details',
      'chat:stream.usage',
      'chat:error.code', // a number
      'completions:choices[].logprobs.token_logprobs[]',
      'model:status', // there is no such route,
      'model:error', // and its errors have another shape
    ]) {
      assert.ok(found.includes(name), `${name} of ${found.join(', ')}`);
    }
    const verdictOf = (name: string) => report.parameters.find((each) => each.name === name);
    assert.equal(verdictOf('chat.n')?.verdict, 'refused');
    assert.match(verdictOf('chat.n')?.because ?? '', /^n must be 1 when using greedy sampling, got 2\.$/);
    assert.equal(verdictOf('chat.zzz')?.verdict, 'ignored');
    assert.equal(verdictOf('chat.logprobs')?.verdict, 'another shape');
    assert.equal(verdictOf('chat.model')?.verdict, 'refused', 'one request asks for a model that is not there');
    assert.equal(verdictOf('completions.best_of')?.verdict, 'cannot be told', 'what would show it was not recorded');
    assert.equal(verdictOf('chat.temperature')?.verdict, 'cannot be told');
    assert.equal(verdictOf('completions.model')?.verdict, 'cannot be told');
  });

  test('does not differ from itself, nor where all is accepted', async () => {
    const base = await vllm();
    const reference = { base, apiKey: null, model: null, timeoutMs: 5000 };
    assert.deepEqual(differencesOf(await run(base, exchanges, { reference })), []);
    const accepted = differencesOf(await run(base, exchanges));
    const again = await run(base, exchanges, { accepted });
    assert.deepEqual([differencesOf(again), again.numDifferences], [[], 0]);
  });

  test('the report names them all, as text and as JSON', async () => {
    const report = await run(await vllm(), [...exchanges, request('DELETE', '/v1/files/x'), request('DELETE', '/v1/files/x')]);
    const text = formatReport(report, 'heading');
    assert.match(text, /^heading\n11 requests sent again; not sent again: DELETE \/v1\/files\/x \(2\)\n/);
    for (const name of differencesOf(report)) assert.ok(text.includes(`*  ${name} `), name);
    assert.match(text, new RegExp(`\n${report.numDifferences} differences \\(\\*\\)\n$`));
    const json = JSON.parse(jsonReport(report, { url: 'u' })) as JsonObject;
    assert.deepEqual([json['url'], json['numDifferences'], json['notSent']], ['u', report.numDifferences, { 'DELETE /v1/files/x': 2 }]);
  });
});

const chat = (changes: object = {}) => ({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...changes });
const said = (content: string) => ({
  id: 'x',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, finish_reason: 'stop', logprobs: null, message: { role: 'assistant', content, refusal: null } }],
});
const error = (message: string, param: string | null = null) => ({ error: { message, type: 'invalid_request_error', param, code: null } });

describe('a server that', () => {
  test('says the same whatever it is asked: what could show is ignored, what could not cannot be told', async () => {
    const base = await serving(() => ({ status: 200, body: said('one and the same answer') }));
    const body = chat({
      temperature: 1,
      seed: 1,
      stop: ['x'],
      n: 2,
      logprobs: true,
      stream: true,
      top_p: 0.5,
      logit_bias: { 5: 1 },
      user: 'u',
    });
    const { parameters } = await run(base, [request('POST', '/v1/chat/completions', body)]);
    const verdicts = Object.fromEntries(parameters.map(({ name, verdict }) => [name.slice('chat.'.length), verdict]));
    assert.deepEqual(verdicts, {
      model: 'ignored',
      messages: 'ignored',
      temperature: 'ignored',
      seed: 'cannot be told',
      stop: 'ignored',
      n: 'ignored',
      logprobs: 'ignored',
      stream: 'ignored',
      top_p: 'cannot be told',
      logit_bias: 'ignored',
      user: 'cannot be told',
    });
  });

  test('never says the same: nothing of the text can be told', async () => {
    let count = 0;
    const base = await serving(() => ({ status: 200, body: said(`answer ${count++}`) }));
    const { parameters } = await run(base, [request('POST', '/v1/chat/completions', chat({ temperature: 1, stop: ['x'], custom: 1 }))]);
    for (const name of ['temperature', 'stop', 'custom']) {
      const found = parameters.find((each) => each.name === `chat.${name}`);
      assert.deepEqual([found?.verdict, found?.because.includes('two answers')], ['cannot be told', true], name);
    }
  });

  test('refuses a parameter without naming it: it is found by leaving each out', async () => {
    const base = await serving((_, __, body) =>
      Object.hasOwn(body as object, 'store') ? { status: 422, body: error('no') } : { status: 200, body: said('x') },
    );
    const exchanges = [request('POST', '/v1/chat/completions', chat({ user: 'u', store: true }), 200)];
    const report = await run(base, exchanges, { probes: false, reference: 'the record' });
    const refused = report.parameters.filter(({ verdict }) => verdict === 'refused');
    assert.deepEqual([refused.map(({ name }) => name), refused[0]?.because, report.numDifferences], [['chat.store'], 'no', 1]);
  });

  test('refuses what was refused before, too: no difference', async () => {
    const base = await serving(() => ({ status: 400, body: error('bad') }));
    const report = await run(base, [request('POST', '/v1/chat/completions', chat(), 400)], { reference: 'the record' });
    assert.equal(report.numDifferences, 0);
  });

  test('is not there, dies, or wants a key: that is said, and there is no report', async () => {
    const isStart = (pattern: RegExp) => (thrown: unknown) =>
      thrown instanceof LockstepError && thrown.code === 'start' && pattern.test(thrown.message);
    const exchanges = Array.from({ length: 6 }, () => request('POST', '/v1/chat/completions', chat(), 200));
    await assert.rejects(
      run(new URL('http://127.0.0.1:9'), exchanges),
      isStart(/^http:\/\/127\.0\.0\.1:9\/ does not answer, after 0 requests/),
    );
    let count = 0;
    const dying = await serving(() => (++count > 2 ? 'die' : { status: 200, body: said('x') }));
    await assert.rejects(run(dying, exchanges), isStart(/does not answer, after 4 requests/));
    const locked = await serving(() => ({ status: 401, body: error('Incorrect API key') }));
    await assert.rejects(run(locked, exchanges), isStart(/refuses every request.*Incorrect API key.*--api-key/));
    await assert.rejects(run(locked, []), isStart(/no request that can be sent again/));
    await assert.rejects(run(locked, [request('DELETE', '/v1/files/x')]), isStart(/no request that can be sent again/));
  });

  test('fails now and then: that request alone has no answer', async () => {
    let count = 0;
    const base = await serving(() => (++count === 2 ? 'die' : { status: 200, body: said('x') }));
    const exchanges = Array.from({ length: 3 }, () => request('POST', '/v1/chat/completions', chat(), 200));
    const report = await run(base, exchanges, { probes: false });
    assert.deepEqual(differencesOf(report), ['chat:answer']);
  });

  test('has but one answer to the question of the application: it is asked for a story', async () => {
    let count = 0;
    const base = await serving((_, __, body) => {
      const { messages, temperature, top_p: topP } = body as { messages: { content: string }[]; temperature: number; top_p?: number };
      const isDrawn = temperature > 0 && topP === undefined && messages[0]?.content !== 'hi';
      return { status: 200, body: said(isDrawn ? `story ${count++}` : messages[0]!.content) };
    });
    const { parameters } = await run(base, [request('POST', '/v1/chat/completions', chat({ temperature: 1, top_p: 0.5, seed: 1 }))]);
    const verdicts = parameters.map(({ name, verdict }) => [name, verdict]);
    assert.deepEqual(verdicts.slice(2), [
      ['chat.temperature', 'honoured'],
      ['chat.top_p', 'honoured'],
      ['chat.seed', 'ignored'],
    ]);
  });

  test('says one answer whatever the penalties: it is told only where a word comes again and again', async () => {
    const verdictsFor = async (text: string) => {
      const base = await serving(() => ({ status: 200, body: said(text) }));
      const body = chat({ presence_penalty: 1, frequency_penalty: 1, repetition_penalty: 1.1 });
      const { parameters } = await run(base, [request('POST', '/v1/chat/completions', body)]);
      return parameters.slice(2).map(({ verdict }) => verdict);
    };
    assert.deepEqual(await verdictsFor('one two three'), ['cannot be told', 'cannot be told', 'cannot be told']);
    assert.deepEqual(await verdictsFor('yes '.repeat(9)), ['cannot be told', 'ignored', 'ignored']);
  });

  test('has no answer to a probe: that parameter cannot be told', async () => {
    const base = await serving((_, __, body) =>
      Object.hasOwn(body as object, 'stop') && (body as JsonObject)['temperature'] === 0
        ? 'die'
        : { status: 200, body: said('one two three') },
    );
    const { parameters } = await run(base, [request('POST', '/v1/chat/completions', chat({ stop: ['x'], n: 1 }))]);
    const found = parameters.find(({ name }) => name === 'chat.stop');
    assert.deepEqual([found?.verdict, found?.because.includes('no answer came')], ['cannot be told', true]);
    assert.equal(parameters.find(({ name }) => name === 'chat.n')?.verdict, 'ignored');
  });

  test('is asked for another model, but where a probe names one', async () => {
    const models = new Set<unknown>();
    const base = await serving((_, __, body) => {
      models.add((body as JsonObject)['model']);
      return { status: 200, body: said('x') };
    });
    await run(base, [request('POST', '/v1/chat/completions', chat())], { target: { base, apiKey: 'k', model: 'other', timeoutMs: 5000 } });
    assert.deepEqual([...models], ['other', 'lockstep-check-no-such-model']);
  });
});
