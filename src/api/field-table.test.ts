import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fieldTable, withFieldTable } from './field-table.js';
import { sharedFields } from './request-fields.js';

const page = () => readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');

test('docs/api.md has the table of request fields as it is now', () => {
  assert.equal(page(), withFieldTable(page()), 'run: node scripts/readme-tables.mjs');
});

test('every field is in it, and a stale table is seen', () => {
  const table = fieldTable();
  for (const { name, routes } of sharedFields)
    if (routes.includes('chat') || routes.includes('completions')) assert.ok(table.includes(`\`${name}\``), name);
  const stale = page().replace('| `temperature` |', '| `warmth` |');
  assert.notEqual(stale, withFieldTable(stale));
  assert.throws(() => withFieldTable('no markers'), /lacks its markers/);
});
