import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { flagTables, withFlagTables } from './flag-table.js';
import { serveFlags } from './options.js';

const readme = () => readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

test('the README has the table of flags as it is now', () => {
  assert.equal(readme(), withFlagTables(readme()), 'run: node scripts/readme-tables.mjs');
});

test('every flag has a row, and a stale table is seen', () => {
  const tables = flagTables();
  for (const { name } of serveFlags) assert.ok(tables.includes(`-${name}`), name);
  const stale = readme().replace('`--port N`', '`--port M`').replace('| `8000` |', '| `8001` |');
  assert.notEqual(stale, withFlagTables(stale));
  assert.throws(() => withFlagTables('no markers'), /lacks its markers/);
});
