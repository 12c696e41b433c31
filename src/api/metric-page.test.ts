import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { withMetricTable } from './metric-page.js';

test('docs/metrics.md has the metrics as they are now, and a stale table is seen', () => {
  const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  assert.equal(page, withMetricTable(page), 'run: node scripts/readme-tables.mjs');
  const stale = page.replace('`vllm:num_requests_waiting`', '`vllm:num_waiting`');
  assert.notEqual(stale, withMetricTable(stale));
});
