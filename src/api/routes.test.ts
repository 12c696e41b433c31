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
