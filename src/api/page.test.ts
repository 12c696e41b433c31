import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { engineAnswer } from './engine-state.js';
import { loadUws } from './exchange-uws.js';
import { fakeServer } from './fake-exchange.js';
import { findFault } from './schema.js';

const maxGzipBytes = 75 * 1024;

/** As it comes: `fetch` would decompress it. */
const raw = (url: string, headers: Record<string, string> = {}) =>
  new Promise<{ response: IncomingMessage; body: Buffer }>((resolve, reject) => {
    get(url, { headers }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      resolve({ response, body: Buffer.concat(chunks) });
    }).on('error', reject);
  });

for (const backend of ['uws', 'node'] as const) {
  const skip = backend === 'uws' && loadUws().module === null ? 'the uWebSockets.js binary does not load here' : false;
  test(`the page, over ${backend}: small, whole in itself, and kept by the browser`, { skip }, async () => {
    const it = await fakeServer({ backend });
    const { response, body: compressed } = await raw(`${it.url}/`, { 'accept-encoding': 'gzip' });
    assert.deepEqual([response.statusCode, response.headers['content-encoding']], [200, 'gzip']);
    assert.ok(compressed.length <= maxGzipBytes, `${compressed.length} bytes`);
    const html = gunzipSync(compressed).toString();
    assert.equal((await raw(`${it.url}/`, { 'accept-encoding': 'gzip;q=0' })).body.toString(), html);

    const policy = response.headers['content-security-policy'] as string;
    assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-/);
    for (const tag of ['script', 'style']) {
      const parts = [...html.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))];
      assert.equal(parts.length, 1, `one ${tag}`);
      assert.ok(policy.includes(createHash('sha256').update(parts[0]![1]!).digest('base64')), `the policy allows the ${tag}`);
    }
    const markup = html.replace(/<script[^>]*>[\s\S]*<\/script>/, '');
    assert.ok(!/<(?:img|iframe|script)|(?:src|href)=["']?(?:https?:)?\/\/|url\(|@import/.test(markup), 'nothing comes from elsewhere');

    const again = await raw(`${it.url}/`, { 'if-none-match': response.headers.etag! });
    assert.deepEqual([again.response.statusCode, again.body.length], [304, 0]);
    await it.close();
  });
}

test('--no-page: there is none', async () => {
  const it = await fakeServer({ page: false });
  const response = await fetch(`${it.url}/`);
  assert.equal(response.status, 404);
  assert.match(await response.text(), /only with --page/);
  await it.close();
});

interface Reading {
  readonly counters: { readonly generation_tokens: number };
  readonly time_to_first_token_seconds: { readonly counts: readonly number[] };
}
const firstTokens = (reading: Reading) => reading.time_to_first_token_seconds.counts.reduce((sum, count) => sum + count, 0);

test('/engine is as its schema says, and counts what is asked', async () => {
  const it = await fakeServer();
  const read = async () => (await fetch(`${it.url}/engine`)).json() as Promise<Reading>;
  const before = await read();
  assert.equal(findFault(engineAnswer.json!, before), null);
  await it.ask('/v1/completions', { prompt: 'a secret', max_tokens: 3 });
  const after = await read();
  assert.equal(firstTokens(after) - firstTokens(before), 1);
  assert.equal(after.counters.generation_tokens - before.counters.generation_tokens, 3);
  assert.equal(JSON.stringify(after).includes('secret'), false);
  await it.close();
});
