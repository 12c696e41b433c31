import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fieldTable, withFieldTable } from './field-table.js';
import { sharedFields } from './request-fields.js';

const readme = () => readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

test('the README has the table of request fields as it is now', () => {
  assert.equal(readme(), withFieldTable(readme()), 'run: node scripts/readme-tables.mjs');
});

test('every field is in it, and a stale table is seen', () => {
  const table = fieldTable();
  for (const { name, routes } of sharedFields)
    if (routes.includes('chat') || routes.includes('completions')) assert.ok(table.includes(`\`${name}\``), name);
  const stale = readme().replace('| `temperature` |', '| `warmth` |');
  assert.notEqual(stale, withFieldTable(stale));
  assert.throws(() => withFieldTable('no markers'), /lacks its markers/);
});
