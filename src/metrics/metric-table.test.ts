import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricNames, metricRows, metricTable } from './metric-table.js';

test('names, types, labels and help, without bounds and creation times', () => {
  const row = metricRows().find(({ name }) => name === 'vllm:request_success_total');
  assert.deepEqual(row, {
    name: 'vllm:request_success_total',
    type: 'counter',
    help: 'Count of successfully processed requests.',
    labels: ['engine', 'finished_reason', 'model_name'],
  });
  assert.match(metricTable(), /\| `vllm:num_requests_waiting` \| gauge \| engine, model_name \| Number of requests waiting/);
  assert.ok(!metricTable().includes('_created`'));
  assert.equal(new Set(metricRows().map(({ name }) => name)).size, metricRows().length);
});

test('what an expression may name', () => {
  const names = metricNames();
  for (const name of [
    'vllm:time_to_first_token_seconds_bucket',
    'vllm:num_requests_waiting',
    'http_requests_total',
    'process_cpu_seconds_total',
  ])
    assert.ok(names.has(name), name);
  for (const name of ['vllm:time_to_first_token_seconds', 'vllm:nothing']) assert.ok(!names.has(name), name);
});
