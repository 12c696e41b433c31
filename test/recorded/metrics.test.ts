/** The names, labels and buckets of a recorded /metrics of vLLM, where they have a meaning here. Needs ../shared. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FakeEngine } from '../../src/api/fake-engine.js';
import { routes } from '../../src/api/routes.js';
import { Metrics } from '../../src/metrics/metrics.js';
import { createSheet } from '../../src/metrics/series.js';
import { sharedData } from '../shared-data.js';

/** What is not shown, and why. */
const absent: readonly (readonly [name: RegExp, reason: string])[] = [
  [/^python_/, 'no Python runs here'],
  [/^vllm:estimated_/, 'estimates of arithmetic on a GPU'],
  [/^vllm:external_prefix_cache_/, 'no KV cache outside the process'],
  [/^vllm:mm_cache_/, 'text models only'],
  [/^vllm:cache_config_info/, 'its labels are the configuration itself'],
];

/** Names with their labels; values of labels that depend on the requests that were made are left out. */
function series(text: string): Set<string> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Set(lines.map((line) => line.slice(0, line.lastIndexOf(' ')).replace(/(handler|method|status)="[^"]*"/g, '$1')));
}

test('every series of vLLM that has a meaning here', { skip: sharedData === null && '../shared is not here' }, () => {
  const recorded = series(readFileSync(`${sharedData}/vllm-recordings/metrics.txt`, 'utf8'));
  const metrics = new Metrics({ routes, sheets: [createSheet()], own: 0 });
  metrics.setModel('smol', new FakeEngine(), 4096, {});
  metrics.http.observe('POST', '/v1/completions', 200, 0.1, 10, 10);
  const ours = series(metrics.exposition().text);
  const missing = [...recorded].filter((name) => !ours.has(name) && !absent.some(([pattern]) => pattern.test(name)));
  assert.deepEqual(missing, []);
  assert.ok(recorded.size > 300);
  for (const [pattern, reason] of absent) assert.ok(![...ours].some((name) => pattern.test(name) && !/cache_config/.test(name)), reason);
});
