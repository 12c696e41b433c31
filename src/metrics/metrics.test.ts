import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metrics, tokenCountBuckets } from './metrics.js';

const figures = {
  running: 2, waiting: 3, kvCacheUsage: 0.25, preemptions: 1, promptTokens: 100, generationTokens: 50,
  prefixCacheQueries: 100, prefixCacheHits: 32, steps: 60, hostTimeUs: 3000,
  specDrafts: 0, specDraftTokens: 0, specAcceptedTokens: 0, specAcceptedPerPosition: [],
}; // biome-ignore format: a list of figures

/** Name and labels -> value. */
async function scrape(metrics: Metrics): Promise<Map<string, number>> {
  const { text } = await metrics.exposition();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

const labels = '{model_name="m",engine="0"}';

test("the engine's figures under vLLM's names, fresh at each scrape", async () => {
  const metrics = new Metrics();
  let running = 2;
  metrics.setModel('m', { counters: () => ({ ...figures, running }) }, 1024, { block_size: '16' });
  assert.equal((await scrape(metrics)).get(`vllm:num_requests_running${labels}`), 2);
  running = 0;
  const values = await scrape(metrics);
  assert.equal(values.get(`vllm:num_requests_running${labels}`), 0);
  assert.equal(values.get(`vllm:num_requests_waiting${labels}`), 3);
  assert.equal(values.get(`vllm:kv_cache_usage_perc${labels}`), 0.25);
  assert.equal(values.get(`vllm:prompt_tokens_total${labels}`), 100);
  assert.equal(values.get(`vllm:prefix_cache_hits_total${labels}`), 32);
  assert.equal(values.get('vllm:prompt_tokens_by_source_total{model_name="m",engine="0",source="local_compute"}'), 68);
  assert.equal(values.get('vllm:cache_config_info{block_size="16",engine="0"}'), 1);
  assert.ok(values.get('process_resident_memory_bytes')! > 1e6);
});

test('speculation, where there is some', async () => {
  const names = (values: Map<string, number>) => [...values.keys()].filter((name) => name.startsWith('vllm:spec_decode'));
  const without = new Metrics();
  without.setModel('m', { counters: () => figures }, 1024, {});
  assert.deepEqual(names(await scrape(without)), []);
  const metrics = new Metrics();
  const counts = { specDrafts: 4, specDraftTokens: 8, specAcceptedTokens: 5, specAcceptedPerPosition: [3, 2] };
  metrics.setModel('m', { counters: () => ({ ...figures, ...counts }) }, 1024, {});
  const values = await scrape(metrics);
  assert.equal(names(values).length, 5);
  assert.equal(values.get(`vllm:spec_decode_num_drafts_total${labels}`), 4);
  assert.equal(values.get(`vllm:spec_decode_num_draft_tokens_total${labels}`), 8);
  assert.equal(values.get(`vllm:spec_decode_num_accepted_tokens_total${labels}`), 5);
  assert.equal(values.get('vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="m",engine="0",position="1"}'), 2);
});

test('10 requests of 10 tokens: counts and sums', async () => {
  const metrics = new Metrics();
  metrics.setModel('m', { counters: () => figures }, 1024, {});
  for (let i = 0; i < 10; i++) {
    const timer = metrics.track({ promptTokens: { length: 7 }, sampling: { n: 1 }, stop: { maxTokens: 10 } }, performance.now());
    timer.prompt(2, 500);
    for (let token = 0; token < 10; token++) timer.tokens(0, 1, token === 9 ? 'length' : null);
    timer.closed();
  }
  const values = await scrape(metrics);
  assert.equal(values.get(`vllm:time_to_first_token_seconds_count${labels}`), 10);
  assert.equal(values.get(`vllm:inter_token_latency_seconds_count${labels}`), 90);
  assert.equal(values.get(`vllm:request_prompt_tokens_sum${labels}`), 70);
  assert.equal(values.get(`vllm:request_prefill_kv_computed_tokens_sum${labels}`), 50);
  assert.equal(values.get(`vllm:request_generation_tokens_sum${labels}`), 100);
  assert.equal(values.get(`vllm:request_params_n_count${labels}`), 10);
  assert.equal(values.get(`vllm:request_queue_time_seconds_sum${labels}`), 5);
  assert.equal(values.get('vllm:request_success_total{model_name="m",engine="0",finished_reason="length"}'), 10);
});

test('what was closed without an end was aborted', async () => {
  const metrics = new Metrics();
  metrics.setModel('m', { counters: () => figures }, 1024, {});
  const timer = metrics.track({ promptTokens: { length: 7 }, sampling: { n: 2 }, stop: { maxTokens: 10 } }, performance.now());
  timer.tokens(0, 1, 'stop');
  timer.closed();
  const values = await scrape(metrics);
  assert.equal(values.get('vllm:request_success_total{model_name="m",engine="0",finished_reason="abort"}'), 1);
  assert.equal(values.get('vllm:request_success_total{model_name="m",engine="0",finished_reason="stop"}'), 1);
});

test('buckets of token counts go up to the longest sequence', () => {
  assert.deepEqual(tokenCountBuckets(100), [1, 2, 5, 10, 20, 50, 100]);
  assert.deepEqual(tokenCountBuckets(4096).at(-1), 2000);
});
