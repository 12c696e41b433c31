import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeEngine, fakeModel } from '../api/fake-engine.js';
import type { ServedModel } from '../api/served-model.js';
import type { Pooler } from '../engine/pooler.js';
import { loadServeOptions } from './options.js';
import { startMessage } from './start-message.js';

function message(argv: readonly string[] = [], changes: Partial<ServedModel> = {}, lanAddress: string | null = '10.1.2.3'): string {
  const model = fakeModel(new FakeEngine(), { maxModelLen: 1000, ...changes });
  return startMessage({ version: '1.2.3', seconds: 0.28, port: 8000, model, options: loadServeOptions(argv, {}), lanAddress });
}

const lineOf = (text: string, name: string) => text.split('\n').find((line) => line.trim().startsWith(name)) ?? '';
const curlOf = (text: string) => /curl [\s\S]*?\n {4}-d .*/.exec(text)?.[0] ?? '';

test('address, page, model, bytes, ranks, what fits, and a request', () => {
  assert.equal(
    message(),
    `
  Lockstep 1.2.3, ready after 0.3 s

  API       http://localhost:8000/v1, from other machines http://10.1.2.3:8000/v1
  Page      http://localhost:8000/
  Model     fake, alias: fake, 1.5 M parameters, mostly bf16, 2.9 MiB
  Files     fake-root
  Ranks     1 on the CPU, 1 thread
  KV cache  16,000 tokens in 976.6 KiB
  Requests  256 at once at most; 16 of the full length of 1,000 tokens fit

  curl http://localhost:8000/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"fake","messages":[{"role":"user","content":"Hello! What can you do?"}]}'

  ^C finishes the running requests and ends.

`,
  );
});

test('the address is one that works: host, TLS, prefix, socket', () => {
  assert.match(lineOf(message(['--host', '::1']), 'API'), /http:\/\/\[::1\]:8000\/v1$/);
  assert.match(lineOf(message([], {}, null), 'API'), /localhost:8000\/v1$/);
  const tls = message(['--ssl-certfile', 'a b.pem', '--ssl-keyfile', 'k', '--root-path', '/llm']);
  assert.match(lineOf(tls, 'API'), /https:\/\/localhost:8000\/llm\/v1, from other machines https:\/\/10\.1\.2\.3:8000\/llm\/v1$/);
  assert.match(curlOf(tls), /^curl --cacert 'a b\.pem' https:\/\/localhost:8000\/llm\/v1\/chat\/completions /);
  const socket = message(['--uds', '/run/it.sock']);
  assert.match(lineOf(socket, 'API'), /\/run\/it\.sock, a Unix domain socket$/);
  assert.equal(lineOf(socket, 'Page'), '');
  assert.match(curlOf(socket), /^curl --unix-socket \/run\/it\.sock http:\/\/localhost\/v1\/chat/);
  assert.equal(lineOf(message(['--no-page']), 'Page'), '');
});

test('a key is asked for and not shown', () => {
  const text = message(['--api-key', 'secret']);
  assert.match(curlOf(text), /-H "authorization: Bearer \$LOCKSTEP_API_KEY"/);
  assert.ok(!text.includes('secret'));
});

test('the request is one that the model answers', () => {
  const pooling = (task: string, labels: readonly string[]) => ({ pooler: { spec: { task, labels } } as unknown as Pooler });
  assert.match(curlOf(message([], { template: null })), /\/v1\/completions .*\n.*"prompt":/);
  assert.match(curlOf(message([], pooling('embed', []))), /\/v1\/embeddings .*\n.*"input":/);
  assert.match(curlOf(message([], pooling('classify', ['a']))), /\/score .*\n.*"text_2":/);
  assert.match(curlOf(message([], pooling('classify', ['a', 'b']))), /\/classify .*\n.*"input":/);
});

test('ranks and their mode', () => {
  const devices = new Array(4).fill('cpu');
  const placement = { ranks: 4, devices, mode: 'reduce', threadsPerRank: 2, cuts: [], kvCacheBytes: 2 ** 30, kvCacheTokens: 500 } as const;
  const text = message([], { placement });
  assert.match(lineOf(text, 'Ranks'), /4 on the CPU, 8 threads, reduce mode$/);
  const gpus = ['cuda:0 NVIDIA H200', 'cuda:1 NVIDIA H200'];
  const onGpus = message([], { placement: { ...placement, ranks: 2, devices: gpus } });
  assert.match(lineOf(onGpus, 'Ranks'), /2 on cuda:0 NVIDIA H200, cuda:1 NVIDIA H200$/);
  assert.match(lineOf(text, 'KV cache'), /500 tokens in 1\.0 GiB$/);
});
