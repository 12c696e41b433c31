import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { plainKeys } from '../door/keys.js';
import { FakeEngine, fakeModel } from '../fake-engine.js';
import { createServer, type HttpServer } from '../server.js';

let engine: FakeEngine;
let server: HttpServer;
let bare: HttpServer;

const call = (method: string, path: string, at = server, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${at.port}${path}`, { method, headers });

before(async () => {
  engine = new FakeEngine();
  const settings = { maxModelLen: 512, dtype: 'auto' };
  server = await createServer({ host: '127.0.0.1', port: 0, devMode: true, tokenizerInfo: true, settings, version: '1.2.3' });
  server.setModel(fakeModel(engine));
  bare = await createServer({ host: '127.0.0.1', port: 0, apiKeys: plainKeys(['secret']) });
  bare.setModel(fakeModel(new FakeEngine()));
});
after(async () => {
  await server.close();
  await bare.close();
});

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;
const jsonOf = async (answer: Response | Promise<Response>): Promise<Json> => (await answer).json();

test('sleeps and wakes, and what it is asked meanwhile waits', async () => {
  assert.deepEqual(await jsonOf(call('GET', '/is_sleeping')), { is_sleeping: false });
  const asleep = await call('POST', '/sleep?level=1&mode=keep');
  assert.deepEqual([asleep.status, await asleep.text()], [200, '']);
  assert.deepEqual(engine.controls.at(-1), { kind: 'sleep', mode: 'keep', forget: true });
  assert.deepEqual(await jsonOf(call('GET', '/is_sleeping')), { is_sleeping: true });
  const body = JSON.stringify({ prompt: 'a', max_tokens: 2 });
  const headers = { 'content-type': 'application/json' };
  const waiting = fetch(`http://127.0.0.1:${server.port}/v1/completions`, { method: 'POST', headers, body });
  const early = await Promise.race([waiting.then(() => 'answered'), new Promise((resolve) => setTimeout(resolve, 50, 'waits'))]);
  assert.equal(early, 'waits');
  assert.equal((await call('POST', '/wake_up?tags=weights')).status, 200);
  assert.deepEqual(await jsonOf(call('GET', '/is_sleeping')), { is_sleeping: true }, 'the KV cache still sleeps');
  assert.equal((await call('POST', '/wake_up?tags=kv_cache')).status, 200);
  assert.equal((await jsonOf(waiting)).usage.completion_tokens, 2);
  await call('POST', '/sleep?level=0');
  assert.deepEqual(engine.controls.at(-1), { kind: 'sleep', mode: 'abort', forget: false });
  await call('POST', '/wake_up');
});

test('the query is read over node:http too', async () => {
  const other = await createServer({ host: '127.0.0.1', port: 0, devMode: true, backend: 'node' });
  const model = fakeModel(new FakeEngine());
  other.setModel(model);
  assert.equal((await call('POST', '/sleep?mode=nap', other)).status, 400);
  assert.equal((await call('POST', '/sleep?mode=wait&level=0', other)).status, 200);
  assert.deepEqual((model.engine as FakeEngine).controls, [{ kind: 'sleep', mode: 'wait', forget: false }]);
  await other.close();
});

test('pauses and resumes, which is the same', async () => {
  assert.deepEqual(await jsonOf(call('POST', '/pause?mode=keep')), { status: 'paused' });
  assert.deepEqual(engine.controls.at(-1), { kind: 'sleep', mode: 'keep', forget: true });
  assert.deepEqual(await jsonOf(call('GET', '/is_paused')), { is_paused: true });
  assert.deepEqual(await jsonOf(call('POST', '/resume')), { status: 'resumed' });
  assert.deepEqual(await jsonOf(call('GET', '/is_paused')), { is_paused: false });
  await call('POST', '/pause?clear_cache=false');
  assert.deepEqual(engine.controls.at(-1), { kind: 'sleep', mode: 'abort', forget: false });
  await call('POST', '/resume');
});

test('empties the prefix cache', async () => {
  assert.equal((await call('POST', '/reset_prefix_cache?reset_running_requests=true')).status, 200);
  assert.deepEqual(engine.controls.at(-1), { kind: 'forgetPrefixes', preempt: true });
  for (const method of ['GET', 'POST']) assert.equal(await (await call(method, '/flush_cache')).text(), 'Cache flushed.\n');
  assert.deepEqual(engine.controls.at(-1), { kind: 'forgetPrefixes', preempt: false });
});

test('refuses what it cannot do, by name', async () => {
  const refusals: readonly (readonly [string, string])[] = [
    ['/sleep?level=2', 'level'],
    ['/sleep?level=x', 'level'],
    ['/sleep?mode=nap', 'mode'],
    ['/sleep?depth=1', 'depth'],
    ['/wake_up?tags=cpu', 'tags'],
    ['/pause?mode=nap', 'mode'],
    ['/pause?clear_cache=perhaps', 'clear_cache'],
    ['/reset_prefix_cache?reset_external=true', 'reset_external'],
    ['/reset_prefix_cache?reset_running_requests=perhaps', 'reset_running_requests'],
  ];
  const before = engine.controls.length;
  for (const [path, param] of refusals) {
    const answer = await call('POST', path);
    assert.deepEqual([answer.status, (await jsonOf(answer)).error.param], [400, param], path);
  }
  assert.equal(engine.controls.length, before);
});

test('tells what it is', async () => {
  const info = await jsonOf(call('GET', '/server_info?config_format=json'));
  assert.deepEqual(info.vllm_config, { maxModelLen: 512, dtype: 'auto' });
  assert.equal(info.system_env.node, process.versions.node);
  assert.equal((await jsonOf(call('GET', '/server_info'))).vllm_config, 'maxModelLen=512, dtype="auto"');
  const model = await jsonOf(call('GET', '/get_model_info'));
  assert.deepEqual([model.model_path, model.is_generation, model.preferred_sampling_params], ['fake-root', true, null]);
  const state = await jsonOf(call('GET', '/get_server_info'));
  assert.deepEqual([state.version, state.context_length, state.internal_states[0].num_running_reqs], ['1.2.3', 4096, 0]);
  const tokenizer = await jsonOf(call('GET', '/tokenizer_info'));
  assert.deepEqual([tokenizer.bos_token, tokenizer.vocab_size], ['<bos>', 258]);
});

test('/health_generate makes a token, and says so when none comes', async () => {
  const before = engine.numSubmitted;
  assert.equal((await call('GET', '/health_generate')).status, 200);
  assert.equal(engine.numSubmitted, before + 1);
  engine.options = { failAt: 0 };
  assert.equal((await call('GET', '/health_generate')).status, 503);
  engine.options = {};
});

test('is there only where it was asked for, and asks for the key', async () => {
  const headers = { authorization: 'Bearer secret' };
  for (const [method, path, flag] of [
    ['POST', '/sleep', /--enable-sleep-mode or --server-dev-mode/],
    ['POST', '/reset_prefix_cache', /--server-dev-mode/],
    ['GET', '/server_info', /--server-dev-mode/],
    ['GET', '/tokenizer_info', /--enable-tokenizer-info-endpoint/],
  ] as const) {
    const answer = await call(method, path, bare, headers);
    assert.equal(answer.status, 404);
    assert.match((await jsonOf(answer)).error.message, flag);
  }
  assert.equal((await call('POST', '/flush_cache', bare)).status, 401);
  assert.equal((await call('POST', '/flush_cache', bare, headers)).status, 200);
});
