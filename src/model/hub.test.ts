import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { silentLogger } from '../log.js';
import type { HubOptions } from './hub.js';
import { parseHubName, resolveModel } from './resolve.js';

/** A hub with one commit of each repository, files in memory. */
interface FakeRepo {
  readonly files: Readonly<Record<string, Buffer>>;
  readonly token?: string;
}
const commit = 'a'.repeat(40);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');
const weights = Buffer.alloc(300_000, 7);
const repos: Record<string, FakeRepo> = {
  'me/tiny': {
    files: {
      'config.json': Buffer.from('{}'),
      'tokenizer.json': Buffer.from('{"a":1}'),
      'chat_template.jinja': Buffer.from('x'),
      'model.safetensors': weights,
      'consolidated.safetensors': Buffer.alloc(1000),
      'pytorch_model.bin': Buffer.alloc(1000),
      'onnx/config.json': Buffer.from('{}'),
    },
  },
  'me/sentences': {
    files: {
      'config.json': Buffer.from('{}'),
      'modules.json': Buffer.from('[]'),
      '1_Pooling/config.json': Buffer.from('{"pooling_mode":"mean"}'),
      '2_Dense/model.safetensors': Buffer.alloc(1200, 9),
      'onnx/model.safetensors': Buffer.alloc(1200),
      'model.safetensors': weights,
    },
  },
  'me/sharded': {
    files: {
      'config.json': Buffer.from('{}'),
      'model.safetensors.index.json': Buffer.from(
        JSON.stringify({ weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } }),
      ),
      'model-00001-of-00002.safetensors': Buffer.alloc(2000, 1),
      'model-00002-of-00002.safetensors': Buffer.alloc(2000, 2),
    },
  },
  'me/gguf': {
    files: {
      'tiny-Q4_K_M.gguf': Buffer.alloc(1500, 3),
      'tiny-Q8_0.gguf': Buffer.alloc(1500, 4),
      'big/tiny-F16-00001-of-00002.gguf': Buffer.alloc(1500, 5),
      'big/tiny-F16-00002-of-00002.gguf': Buffer.alloc(1500, 6),
      'mmproj-tiny-Q8_0.gguf': Buffer.alloc(1500, 8),
    },
  },
  'me/private': { files: { 'config.json': Buffer.from('{}'), 'model.safetensors': Buffer.alloc(1200) }, token: 'hf_secret' },
  'me/evil': {
    files: {
      'config.json': Buffer.from('{}'),
      'model.safetensors.index.json': Buffer.from(JSON.stringify({ weight_map: { a: '../../../evil.safetensors' } })),
      '../../../evil.safetensors': Buffer.alloc(1200),
    },
  },
  'me/bin': { files: { 'config.json': Buffer.from('{}'), 'pytorch_model.bin': Buffer.alloc(1200) } },
};

const requests: { url: string; range: string | undefined }[] = [];
/** Paths whose next answer is cut off after so many bytes. */
const cuts = new Map<string, number>();
let server: Server;
let url: string;
/** Nothing listens there. */
let silent: string;

const listen = (on: Server) =>
  new Promise<string>((done) => on.listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${(on.address() as AddressInfo).port}`)));

before(async () => {
  const closed = createServer();
  silent = await listen(closed);
  closed.close();
  server = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://hub').pathname;
    requests.push({ url: path, range: request.headers.range });
    const name = Object.keys(repos).find((repo) => path.includes(`/${repo}/`));
    const repo = name === undefined ? undefined : repos[name];
    if (!repo || name === undefined) return void response.writeHead(404).end('{}');
    if (repo.token && request.headers.authorization !== `Bearer ${repo.token}`)
      return void response.writeHead(401, { 'content-type': 'application/json' }).end('{}');
    const json = (value: unknown) => void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (path.includes('/revision/')) return json({ _id: 'x', id: name, sha: commit, lastModified: '2026-01-01' });
    if (path.includes('/tree/')) {
      return json(
        Object.entries(repo.files).map(([file, bytes]) => ({
          type: 'file',
          path: file,
          size: bytes.length,
          oid: sha1(bytes),
          ...(bytes.length > 500 && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }),
        })),
      );
    }
    const file = path.split(`/resolve/${commit}/`)[1] ?? '';
    const bytes = repo.files[decodeURIComponent(file)];
    if (!bytes) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    const [first, last] = range ? [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)] : [0, bytes.length - 1];
    const part = bytes.subarray(first, last + 1);
    response.writeHead(range ? 206 : 200, {
      etag: '"x"',
      'content-length': part.length,
      ...(range && { 'content-range': `bytes ${first}-${last}/${bytes.length}` }),
    });
    const cut = part.length > 1 ? cuts.get(file) : undefined;
    if (cut === undefined) return void response.end(part);
    cuts.delete(file);
    response.write(part.subarray(0, cut), () => response.destroy());
  });
  url = await listen(server);
});
after(() => {
  server.closeAllConnections();
  server.close();
});

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lockstep-hub-'));
  requests.length = 0;
  cuts.clear();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const written: string[] = [];
const options = (env: Record<string, string> = {}, isTTY = false): HubOptions => ({
  env: { HF_HOME: home, HF_ENDPOINT: url, ...env },
  log: silentLogger,
  progress: { isTTY, columns: 100, write: (text) => written.push(text) },
});
const startsWith = (text: string) => (error: Error & { code?: string }) => {
  assert.equal(error.code, 'start');
  assert.ok(error.message.includes(text), error.message);
  return true;
};
const resolved = (path: string) => requests.filter((r) => r.url.includes('/resolve/') && r.url.endsWith(path));

test('names of the hub are told from paths', () => {
  assert.deepEqual(parseHubName('Qwen/Qwen2.5-0.5B'), { repo: 'Qwen/Qwen2.5-0.5B', quant: null, file: null });
  assert.deepEqual(parseHubName('gpt2'), { repo: 'gpt2', quant: null, file: null });
  assert.deepEqual(parseHubName('me/gguf:Q4_K_M'), { repo: 'me/gguf', quant: 'Q4_K_M', file: null });
  assert.deepEqual(parseHubName('me/gguf/sub/a.gguf'), { repo: 'me/gguf', quant: null, file: 'sub/a.gguf' });
  for (const name of ['', './here', '../up', '/abs/path', 'a/b/c', 'file.gguf', 'a//b', 'a/../b', 'a b/c', 'C:\\x'])
    assert.equal(parseHubName(name), null, name);
});

test('of sentence-transformers the modules are fetched too', async () => {
  const folder = await resolveModel('me/sentences', options());
  assert.equal(readFileSync(join(folder, '1_Pooling/config.json'), 'utf8'), '{"pooling_mode":"mean"}');
  assert.deepEqual(readFileSync(join(folder, '2_Dense/model.safetensors')), Buffer.alloc(1200, 9));
  assert.ok(!existsSync(join(folder, 'onnx')));
});

test('of another model the tokenizer alone', async () => {
  const folder = await resolveModel('me/tiny', { ...options(), only: 'tokenizer' });
  for (const name of ['tokenizer.json', 'chat_template.jinja']) assert.ok(existsSync(join(folder, name)), name);
  assert.ok(!existsSync(join(folder, 'model.safetensors')));
  assert.equal(await resolveModel('me/tiny', { ...options({ HF_HUB_OFFLINE: '1' }), only: 'tokenizer' }), folder);
});

test('a model is fetched into the layout that Python uses, and only what is read', async () => {
  const folder = await resolveModel('me/tiny', options());
  assert.equal(folder, join(home, 'hub/models--me--tiny/snapshots', commit));
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights);
  assert.ok(lstatSync(join(folder, 'model.safetensors')).isSymbolicLink());
  assert.ok(existsSync(join(home, 'hub/models--me--tiny/blobs', sha256(weights))));
  assert.equal(readFileSync(join(home, 'hub/models--me--tiny/refs/main'), 'utf8'), commit);
  assert.ok(existsSync(join(folder, 'chat_template.jinja')));
  for (const name of ['consolidated.safetensors', 'pytorch_model.bin', 'onnx']) assert.ok(!existsSync(join(folder, name)), name);
  requests.length = 0;
  assert.equal(await resolveModel('me/tiny', options()), folder);
  assert.deepEqual(
    requests.filter((r) => r.url.includes('/resolve/')),
    [],
  );
});

test('the files of an index, and no others', async () => {
  const folder = await resolveModel('me/sharded', options({ HF_HUB_CACHE: join(home, 'elsewhere') }));
  assert.ok(folder.startsWith(join(home, 'elsewhere')));
  assert.equal(readFileSync(join(folder, 'model-00002-of-00002.safetensors'))[0], 2);
});

test('a broken download goes on where it stopped', async () => {
  const blobs = join(home, 'hub/models--me--tiny/blobs');
  mkdirSync(blobs, { recursive: true });
  writeFileSync(join(blobs, `${sha256(weights)}.incomplete`), weights.subarray(0, 100_000));
  cuts.set('model.safetensors', 50_000);
  const folder = await resolveModel('me/tiny', options());
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights);
  const starts = resolved('model.safetensors').map((r) => Number(/bytes=(\d+)/.exec(r.range ?? '')?.[1] ?? 0));
  assert.ok(starts.includes(100_000), String(starts));
  assert.ok(
    starts.some((at) => at > 100_000),
    String(starts),
  );
});

test('two servers that start at once share one download', async () => {
  const [a, b] = await Promise.all([resolveModel('me/tiny', options()), resolveModel('me/tiny', options())]);
  assert.equal(a, b);
  assert.deepEqual(readFileSync(join(a, 'model.safetensors')), weights);
  // One probe for the size, one for the bytes.
  assert.equal(resolved('model.safetensors').length, 2);
});

test('a damaged part is thrown away and fetched again', async () => {
  const blobs = join(home, 'hub/models--me--tiny/blobs');
  mkdirSync(blobs, { recursive: true });
  writeFileSync(join(blobs, `${sha256(weights)}.incomplete`), Buffer.alloc(400_000, 1));
  const folder = await resolveModel('me/tiny', options());
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights);
});

test('GGUF by quantisation, by path and in parts', async () => {
  assert.ok((await resolveModel('me/gguf:q4_k_m', options())).endsWith('tiny-Q4_K_M.gguf'));
  const first = await resolveModel('me/gguf:F16', options());
  assert.ok(first.endsWith('big/tiny-F16-00001-of-00002.gguf'));
  assert.ok(existsSync(first.replace('00001-of', '00002-of')));
  assert.ok((await resolveModel('me/gguf/tiny-Q8_0.gguf', options())).endsWith('/tiny-Q8_0.gguf'));
  await assert.rejects(resolveModel('me/gguf:Q2_K', options()), startsWith('has no .gguf file Q2_K; it has tiny-Q4_K_M.gguf'));
  await assert.rejects(resolveModel('me/gguf', options()), startsWith('name one as me/gguf/FILE or me/gguf:QUANT'));
  assert.ok((await resolveModel('me/gguf:Q8_0', options({ HF_HUB_OFFLINE: '1' }))).endsWith('/tiny-Q8_0.gguf'));
});

test('offline: the cache or a clear refusal', async () => {
  await assert.rejects(resolveModel('me/tiny', options({ HF_HUB_OFFLINE: '1' })), startsWith('HF_HUB_OFFLINE forbids'));
  assert.equal(requests.length, 0);
  const folder = await resolveModel('me/tiny', options());
  requests.length = 0;
  assert.equal(await resolveModel('me/tiny', options({ HF_HUB_OFFLINE: 'true' })), folder);
  assert.equal(requests.length, 0);
  // No answer: the cache serves, with a warning.
  assert.equal(await resolveModel('me/tiny', options({ HF_ENDPOINT: silent })), folder);
  await assert.rejects(resolveModel('me/other', options({ HF_ENDPOINT: silent })), startsWith('gives no answer that can be used'));
});

test('tokens', async () => {
  await assert.rejects(resolveModel('me/private', options()), startsWith('set HF_TOKEN'));
  await assert.rejects(resolveModel('me/private', options({ HF_TOKEN: 'hf_wrong' })), startsWith('the token has no access'));
  await assert.rejects(resolveModel('me/private', options({ HF_TOKEN: 'sk-1' })), startsWith('must start with hf_'));
  assert.ok(await resolveModel('me/private', options({ HF_TOKEN: 'hf_secret' })));
  rmSync(join(home, 'hub'), { recursive: true });
  writeFileSync(join(home, 'token'), 'hf_secret\n');
  assert.ok(await resolveModel('me/private', options()));
});

test('what cannot be served is refused with the reason', async () => {
  await assert.rejects(resolveModel('me/nothing', options()), startsWith('no such folder here, and no such model'));
  await assert.rejects(resolveModel('me/bin', options()), startsWith('holds no model.safetensors and no .gguf file'));
  await assert.rejects(resolveModel('./nowhere', options()), startsWith('no such folder or file'));
  await assert.rejects(resolveModel('', options()), startsWith('no such folder or file'));
  writeFileSync(join(home, 'notes.txt'), '');
  await assert.rejects(resolveModel(join(home, 'notes.txt'), options()), startsWith('not a .gguf file'));
  mkdirSync(join(home, 'empty'));
  await assert.rejects(resolveModel(join(home, 'empty'), options()), startsWith('neither config.json nor a .gguf file'));
});

test('a file name that leaves the folder is not written', async () => {
  await assert.rejects(resolveModel('me/evil', options()), startsWith('leaves the folder'));
  assert.ok(!existsSync(join(home, 'hub/evil.safetensors')));
});

test('a terminal sees a bar that ends full', async () => {
  written.length = 0;
  await resolveModel('me/tiny', options({}, true));
  assert.match(written.at(-1) ?? '', /^\rme\/tiny \[=+\] 100% 293\.0 KiB of 293\.0 KiB.*\n$/);
});
