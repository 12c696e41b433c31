import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { refusedFlags } from './refused-flags.js';
import { refusedTable, settledTable, withRefusedTable } from './refused-table.js';

test('docs/from-vllm.md has the refused flags as they are now', () => {
  const page = readFileSync(new URL('../../../docs/from-vllm.md', import.meta.url), 'utf8');
  assert.equal(page, withRefusedTable(page), 'run: node scripts/readme-tables.mjs');
  assert.notEqual(page.replace('`--enable-lora`', ''), withRefusedTable(page.replace('`--enable-lora`', '')));
});

test('every refused flag is in it, with what is taken of it', () => {
  const table = refusedTable();
  for (const flag of refusedFlags.keys()) assert.ok(table.includes(`\`${flag}\``), flag);
  assert.match(settledTable(), /`--pipeline-parallel-size 1`.*`--disable-log-requests`.*`--no-enable-lora`/);
});
