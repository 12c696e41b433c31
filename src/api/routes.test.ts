import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainKeys } from './door/keys.js';
import { fakeServer } from './fake-exchange.js';
import { routes } from './routes.js';

/** What supervisors, scrapers and readers of the documentation ask, who have no key. */
const open = ['/health', '/ping', '/version', '/load', '/metrics', '/openapi.json', '/docs', '/', '/api/version'];

test('every route but these asks for the key, in the words of its API', async () => {
  const it = await fakeServer({ apiKeys: plainKeys(['secret']), devMode: true, tokenizerInfo: true });
  for (const { method, path, access } of routes) {
    assert.equal(access === 'open', open.includes(path), path);
    if (access === 'open') continue;
    const answer = await fetch(it.url + path.replace('*', 'x'), { method });
    const { error } = JSON.parse(await answer.text());
    assert.equal(answer.status, 401, `${method} ${path}`);
    assert.match(typeof error === 'string' ? error : error.message, /API key/);
  }
  assert.equal(it.engine.numSubmitted + it.engine.controls.length, 0);
  await it.close();
});

test('a slash at the end of a path changes nothing', async () => {
  const it = await fakeServer();
  for (const path of ['/v1/models', '/health', '/version']) {
    assert.equal(await (await fetch(`${it.url}${path}/`)).text(), await (await fetch(it.url + path)).text());
  }
  assert.equal((await fetch(`${it.url}/v1/models/none/`)).status, 404);
  await it.close();
});

test('a body in an encoding is refused by its name', async () => {
  const it = await fakeServer();
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
  const answer = await fetch(`${it.url}/v1/completions`, { method: 'POST', headers, body: Buffer.from([0x1f, 0x8b, 8, 0]) });
  assert.equal(answer.status, 400);
  assert.match(await answer.text(), /Content-Encoding 'gzip'/);
  await it.close();
});
