import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { routeTable, withRouteTable } from './route-table.js';
import { routes } from './routes.js';

const page = () => readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');

test('docs/api.md has the routes as they are now', () => {
  assert.equal(page(), withRouteTable(page()), 'run: node scripts/readme-tables.mjs');
});

test('every route is in it, and a stale table is seen', () => {
  const table = routeTable();
  for (const { path } of routes) assert.ok(table.includes(`\`${path.replace('/*', '/{…}')}`), path);
  assert.match(table, /\| GET, POST \| `\/ping` \| open \|/);
  assert.match(table, /`\/is_sleeping` \| key \| .*with `--enable-sleep-mode` or `--server-dev-mode` \|/);
  const stale = page().replace('`/tokenize`', '`/tokenise`');
  assert.notEqual(stale, withRouteTable(stale));
});
