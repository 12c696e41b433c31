import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { plainKeys } from './door/keys.js';
import { loadUws } from './exchange-uws.js';
import { FakeEngine, type FakeEngineOptions, FakeTokenizer, fakeModel } from './fake-engine.js';
import type { ServedModel } from './served-model.js';
import { createServer, type HttpServer, type ServerOptions } from './server.js';

const backends = ['uws', 'node'] as const;
const question = [{ role: 'user', content: 'hi' }];

interface Started {
  readonly server: HttpServer;
  readonly engine: FakeEngine;
  readonly url: string;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  chat(body: object): Promise<Response>;
}

async function start(
  options: Partial<ServerOptions>,
  engineOptions: FakeEngineOptions = {},
  model: Partial<ServedModel> = {},
): Promise<Started> {
  const server = await createServer({ host: '127.0.0.1', port: 0, version: '1.2.3', ...options });
  const engine = new FakeEngine(engineOptions);
  server.setModel(fakeModel(engine, model));
  const url = `http://127.0.0.1:${server.port}`;
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
    });
  return { server, engine, url, post, chat: (body) => post('/v1/chat/completions', { messages: question, ...body }) };
}

async function until(condition: () => boolean, what: string, ms = 2000): Promise<void> {
  for (let i = 0; i < ms / 5; i++) {
    if (condition()) return;
    await sleep(5);
  }
  assert.fail(`not within ${ms} ms: ${what}`);
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;
const errorOf = async (response: Response): Promise<Json> => ((await response.json()) as Json).error;

async function eventsOf(response: Response): Promise<Json[]> {
  const text = await response.text();
  const lines = text.split('\n\n').filter((line) => line !== '');
  return lines.map((line) => (line === 'data: [DONE]' ? '[DONE]' : JSON.parse(line.slice('data: '.length))));
}

for (const backend of backends) {
  const skip = backend === 'uws' && loadUws().module === null ? 'the uWebSockets.js binary does not load here' : false;
  describe(`over ${backend}`, { skip }, () => {
    let it: Started;
    before(async () => {
      it = await start({ backend, maxBodyBytes: 1 << 20 });
    });
    after(() => it.server.close());

    test('answers chat', async () => {
      const response = await it.chat({ max_tokens: 5, temperature: 0 });
      const answer = (await response.json()) as Json;
      assert.equal(response.status, 200);
      assert.equal(answer.object, 'chat.completion');
      assert.equal(answer.model, 'fake');
      assert.match(answer.id, /^chatcmpl-[0-9a-f]{16}$/);
      assert.match(answer.system_fingerprint, /^lockstep-1\.2\.3-[0-9a-f]{8}$/);
      assert.equal(answer.choices[0].message.content.length, 5);
      assert.equal(answer.choices[0].finish_reason, 'length');
      assert.deepEqual(answer.usage, {
        prompt_tokens: 18,
        total_tokens: 23,
        completion_tokens: 5,
        prompt_tokens_details: null,
        completion_tokens_details: null,
      });
    });

    test('streams what it answers whole, and the role with the first token', async () => {
      const whole = (await (await it.chat({ max_tokens: 5, temperature: 0 })).json()) as Json;
      const events = await eventsOf(
        await it.chat({ max_tokens: 5, temperature: 0, stream: true, stream_options: { include_usage: true } }),
      );
      assert.equal(events.at(-1), '[DONE]');
      assert.deepEqual(events.at(-2).choices, []);
      assert.equal(events.at(-2).usage.completion_tokens, 5);
      assert.deepEqual(events[0].choices[0].delta, { role: 'assistant', content: '' });
      const text = events.slice(1, -2).map((event) => event.choices[0].delta.content);
      assert.equal(text.join(''), whole.choices[0].message.content);
      assert.ok(events.slice(0, -2).every((event) => !('usage' in event)));
      assert.equal(events.at(-3).choices[0].finish_reason, 'length');
    });

    test('answers completions: prompts times choices, echo, ids', async () => {
      const response = await it.post('/v1/completions', {
        prompt: ['a b', 'c d'],
        n: 2,
        temperature: 0.9,
        seed: 3,
        max_tokens: 4,
        echo: true,
      });
      const answer = (await response.json()) as Json;
      assert.deepEqual(
        answer.choices.map((choice: Json) => choice.index),
        [0, 1, 2, 3],
      );
      assert.deepEqual(
        answer.choices.map((choice: Json) => choice.text.slice(0, 3)),
        ['a b', 'a b', 'c d', 'c d'],
      );
      assert.equal(answer.usage.completion_tokens, 16);
      assert.notEqual(answer.choices[0].text, answer.choices[1].text);
    });

    test('n of a greedy request: equal choices', async () => {
      const { choices } = (await (await it.chat({ n: 3, temperature: 0, max_tokens: 4 })).json()) as Json;
      assert.equal(new Set(choices.map((choice: Json) => choice.message.content)).size, 1);
      assert.equal(choices.length, 3);
    });

    test('a client that goes away aborts its request, streaming or not', async () => {
      const slow = await start({ backend }, { stepMs: 20 });
      for (const stream of [true, false]) {
        const before = slow.engine.numAborts;
        const controller = new AbortController();
        const body = JSON.stringify({ messages: question, max_tokens: 4000, stream });
        const headers = { 'content-type': 'application/json' };
        const pending = fetch(`${slow.url}/v1/chat/completions`, { method: 'POST', headers, body, signal: controller.signal });
        if (stream) await (await pending).body!.getReader().read();
        else await until(() => slow.engine.numRunning === 1, 'the request runs');
        controller.abort();
        await pending.catch(() => undefined);
        await until(() => slow.engine.numAborts === before + 1, 'the abort arrives');
        assert.equal(slow.engine.numRunning, 0);
      }
      assert.equal(((await (await fetch(`${slow.url}/load`)).json()) as Json).server_load, 0);
      await slow.server.close();
    });

    test('a slow reader is cut off at the bound, and its request is aborted', async () => {
      const small = await start({ backend, streamBufferBytesMax: 4096 }, {}, { maxModelLen: 10_000_000 });
      const socket = connect(small.server.port, '127.0.0.1');
      const body = JSON.stringify({ messages: question, max_tokens: 9_000_000, n: 64, stream: true });
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      socket.pause();
      socket.on('error', () => undefined);
      for (let i = 0; i < 2000 && small.engine.numAborts === 0; i++) await sleep(10);
      assert.equal(small.engine.numAborts, 1);
      socket.destroy();
      await small.server.close();
    });

    test('a reader that pauses within the bound gets everything, in order', async () => {
      const large = await start({ backend, streamBufferBytesMax: 64 << 20 }, {}, { maxModelLen: 100_000 });
      const numTokens = 2000;
      const body = JSON.stringify({ prompt: 'a', max_tokens: numTokens, n: 16, temperature: 1, stream: true });
      const socket = connect(large.server.port, '127.0.0.1');
      const head = 'POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json';
      socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      socket.pause();
      await until(() => large.engine.numSubmitted === 1 && large.engine.numRunning === 0, 'all is made before anything is read', 20_000);
      const chunks: Buffer[] = [];
      socket.on('data', (data) => {
        chunks.push(data);
        if (data.includes('[DONE]')) socket.end();
      });
      socket.resume();
      await new Promise((resolve) => socket.on('close', resolve));
      const text = Buffer.concat(chunks)
        .toString()
        .replace(/\r\n[0-9a-f]+\r\n/g, ''); // chunk heads stand between events
      const seen = new Int32Array(16);
      for (const match of text.matchAll(/"index":(\d+),"text":"(.)"/g)) {
        const choice = Number(match[1]);
        assert.equal(match[2]!.charCodeAt(0), 97 + ((1 + seen[choice]! + choice * 7) % 26), `choice ${choice}, token ${seen[choice]}`);
        seen[choice]!++;
      }
      assert.deepEqual([...seen], Array(16).fill(numTokens));
      await large.server.close();
    });

    test('bodies are bounded, announced or not', async () => {
      const announced = await it.post('/v1/completions', 'x'.repeat((1 << 20) + 1)).catch(() => null);
      if (announced !== null) assert.equal(announced.status, 413);
      const status = await new Promise<string>((resolve, reject) => {
        const socket = connect(it.server.port, '127.0.0.1');
        let seen = '';
        socket.on('data', (data) => {
          seen += String(data);
          resolve(seen.split('\r\n', 1)[0]!);
          socket.destroy();
        });
        socket.on('error', reject);
        socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n');
        const chunk = `10000\r\n${'x'.repeat(65536)}\r\n`;
        for (let i = 0; i < 17; i++) socket.write(chunk);
      });
      assert.match(status, / 413 /);
      assert.equal((await it.chat({ max_tokens: 1 })).status, 200);
    });

    test('an error in the middle of a stream is an event; before it, a status', async () => {
      const failing = await start({ backend }, { failAt: 2 });
      const events = await eventsOf(await failing.chat({ max_tokens: 9, stream: true }));
      assert.equal(events.at(-1), '[DONE]');
      assert.equal(events.at(-2).error.type, 'InternalServerError');
      assert.equal((await failing.chat({ max_tokens: 9 })).status, 500);
      failing.engine.options = { failAt: 0 };
      const refused = await failing.chat({ max_tokens: 9, stream: true });
      assert.equal(refused.status, 500);
      assert.match((await errorOf(refused)).message, /failed as asked/);
      await failing.server.close();
    });

    test('what breaks while an answer is made is that answer alone', async () => {
      const tokenizer = new FakeTokenizer();
      let calls = 0;
      tokenizer.tokenText = () => {
        if (++calls === 3) throw new Error('broken');
        return 'x';
      };
      const broken = await start({ backend }, { stepMs: 5 }, { tokenizer });
      const events = await eventsOf(await broken.chat({ max_tokens: 100, stream: true, logprobs: true }));
      assert.equal(events.at(-2).error.message, 'Internal server error');
      assert.equal(broken.engine.numAborts, 1);
      calls = 0;
      const whole = await broken.chat({ max_tokens: 9, logprobs: true });
      assert.equal(whole.status, 500);
      assert.equal((await errorOf(whole)).message, 'Internal server error');
      assert.equal((await broken.chat({ max_tokens: 9 })).status, 200);
      await broken.server.close();
    });

    test('one prompt of several that fails takes the others back', async () => {
      const failing = await start({ backend }, { failAt: 1, stepMs: 5 });
      assert.equal((await failing.post('/v1/completions', { prompt: ['a', 'b', 'c'], n: 2, max_tokens: 500 })).status, 500);
      await until(() => failing.engine.numRunning === 0, 'nothing runs');
      await failing.server.close();
    });

    test('a full queue is 429 with Retry-After, before and at the engine', async () => {
      const full = await start({ backend }, { queueLenMax: 1, prefillMs: 10_000 });
      const controller = new AbortController();
      const headers = { 'content-type': 'application/json' };
      const first = fetch(`${full.url}/v1/chat/completions`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ messages: question }),
        signal: controller.signal,
      });
      await until(() => full.engine.numRunning === 1, 'the first request runs');
      const refused = await full.chat({});
      assert.equal(refused.status, 429);
      assert.equal(refused.headers.get('retry-after'), '1');
      assert.equal((await errorOf(refused)).code, 'rate_limit_exceeded');
      const several = await full.post('/v1/completions', { prompt: ['a', 'b'] });
      assert.equal(several.status, 429);
      full.engine.numWaiting = 4096;
      assert.equal((await full.chat({})).status, 429);
      controller.abort();
      await first.catch(() => undefined);
      await full.server.close();
    });

    test('keys: every inference route asks, /health and /metrics do not', async () => {
      const locked = await start({ backend, apiKeys: plainKeys(['one', 'two']) });
      for (const [path, method] of [
        ['/v1/models', 'GET'],
        ['/v1/chat/completions', 'POST'],
        ['/v1/completions', 'POST'],
        ['/tokenize', 'POST'],
        ['/detokenize', 'POST'],
      ] as const) {
        for (const authorization of [null, 'Bearer nope', 'Basic one', 'Bearer', 'one']) {
          const response = await fetch(locked.url + path, { method, headers: authorization === null ? {} : { authorization } });
          assert.equal(response.status, 401, `${path} ${authorization}`);
          assert.equal((await errorOf(response)).code, 'invalid_api_key');
        }
      }
      for (const path of ['/health', '/ping', '/version', '/metrics', '/load'])
        assert.equal((await fetch(locked.url + path)).status, 200, path);
      for (const key of ['one', 'two']) {
        assert.equal((await fetch(`${locked.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status, 200);
      }
      await locked.server.close();
    });

    test('while loading and draining: 503 with Retry-After, running requests finish', async () => {
      const server = await createServer({ host: '127.0.0.1', port: 0, backend });
      const url = `http://127.0.0.1:${server.port}`;
      const headers = { 'content-type': 'application/json' };
      const chat = () =>
        fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify({ messages: question, max_tokens: 10 }) });
      assert.equal((await fetch(`${url}/health`)).status, 503);
      const early = await chat();
      assert.equal(early.status, 503);
      assert.ok(Number(early.headers.get('retry-after')) > 0);
      assert.equal((await fetch(`${url}/version`)).status, 200);

      const engine = new FakeEngine({ stepMs: 10 });
      server.setModel(fakeModel(engine));
      assert.equal((await fetch(`${url}/health`)).status, 200);
      const running = chat();
      await until(() => engine.numRunning === 1, 'the request runs');
      const drained = server.drain(5000);
      assert.equal((await chat()).status, 503);
      assert.equal((await fetch(`${url}/health`)).status, 503);
      assert.equal((await running).status, 200);
      assert.equal(await drained, true);
      await server.close();
    });

    test('a port in use is refused by name', async () => {
      await assert.rejects(
        createServer({ host: '127.0.0.1', port: it.server.port, backend }),
        /cannot listen on 127.0.0.1:\d+: the port is in use/,
      );
    });

    test('unknown routes and methods, root path, CORS', async () => {
      const unknown = await fetch(`${it.url}/v1/nope`);
      assert.equal(unknown.status, 404);
      assert.equal((await errorOf(unknown)).type, 'NotFoundError');
      const wrong = await fetch(`${it.url}/v1/chat/completions`);
      assert.equal(wrong.status, 405);
      assert.equal(wrong.headers.get('allow'), 'POST');
      await wrong.text();
      const exact = await fetch(`${it.url}/v1/responses/input_tokens`, { method: 'DELETE' });
      assert.equal(exact.headers.get('allow'), 'POST', 'a route of its own, not one below /v1/responses/');
      await exact.text();
      const prefixed = await start({
        backend,
        rootPath: '/llm/',
        cors: { allowedOrigins: ['http://a.test'], allowedMethods: ['*'], allowedHeaders: ['*'], allowCredentials: false },
      });
      assert.equal((await fetch(`${prefixed.url}/llm/v1/models`)).status, 200);
      assert.equal((await fetch(`${prefixed.url}/v1/models`)).status, 200);
      const preflight = (origin: string) =>
        fetch(`${prefixed.url}/v1/chat/completions`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
      const allowed = await preflight('http://a.test');
      assert.equal(allowed.status, 200);
      assert.equal(allowed.headers.get('access-control-allow-origin'), 'http://a.test');
      const refused = await preflight('http://b.test');
      assert.equal(refused.status, 400);
      assert.equal(await refused.text(), 'Disallowed CORS origin');
      await prefixed.server.close();
    });

    test('models, tokenize, detokenize, request ids, aliases', async () => {
      const list = (await (await fetch(`${it.url}/v1/models`)).json()) as Json;
      assert.deepEqual(
        list.data.map((model: Json) => model.id),
        ['fake', 'alias'],
      );
      assert.equal(((await (await fetch(`${it.url}/v1/models/alias`)).json()) as Json).id, 'alias');
      assert.equal((await fetch(`${it.url}/v1/models/none`)).status, 404);
      const tokens = (await (await it.post('/tokenize', { prompt: 'Hé', return_token_strs: true })).json()) as Json;
      assert.deepEqual(tokens.tokens, [72, 195, 169]);
      const chat = (await (await it.post('/tokenize', { messages: question })).json()) as Json;
      assert.equal(chat.count, 18);
      assert.deepEqual(await (await it.post('/detokenize', { tokens: [72, 195, 169] })).json(), { prompt: 'Hé' });
      const named = await it.post(
        '/v1/chat/completions',
        { model: 'alias', messages: question, max_tokens: 1 },
        { 'x-request-id': 'abc-123' },
      );
      const answer = (await named.json()) as Json;
      assert.equal(answer.id, 'chatcmpl-abc-123');
      assert.equal(answer.model, 'fake');
    });

    test('256 streams at once', async () => {
      const answers = await Promise.all(Array.from({ length: 256 }, () => it.chat({ max_tokens: 8, stream: true }).then(eventsOf)));
      for (const events of answers) assert.equal(events.length, 10);
    });
  });
}
