import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { docsPolicy } from './docs-page.js';
import { sharedFields } from './request-fields.js';
import { routes } from './routes.js';
import { createServer } from './server.js';

test('/docs: every route and field, and nothing that its policy forbids', async () => {
  const server = await createServer({ host: '127.0.0.1', port: 0, version: '1.2.3<' });
  const response = await fetch(`http://127.0.0.1:${server.port}/docs`);
  const page = await response.text();
  await server.close();
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-security-policy'), docsPolicy);
  assert.match(docsPolicy, /^default-src 'none'; style-src 'sha256-/);
  const [, style] = /<style>(.*)<\/style>/.exec(page)!;
  assert.ok(docsPolicy.includes(createHash('sha256').update(style!).digest('base64')), 'the policy allows the one style there is');
  assert.doesNotMatch(page, /<script|<link|<img|style=|https?:/);
  assert.ok(page.includes('Lockstep 1.2.3&lt;'));
  for (const { method, path } of routes) assert.ok(page.includes(`<code>${method} ${path.replaceAll('*', '{id}')}</code>`), path);
  for (const { name } of sharedFields) assert.ok(page.includes(`<td><code>${name}</code>`), name);
});
