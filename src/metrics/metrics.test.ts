import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metrics, preemptionBounds, stepTokenBounds, tokenCountBounds } from './metrics.js';
import { createSheet } from './series.js';

const figures = {
  running: 2, waiting: 3, kvCacheUsage: 0.25, preemptions: 1, promptTokens: 100, generationTokens: 50,
  prefixCacheQueries: 100, prefixCacheHits: 32, steps: 60, hostTimeUs: 3000, asleep: 0, phaseTimesUs: {},
  specDrafts: 0, specDraftTokens: 0, specAcceptedTokens: 0, specAcceptedPerPosition: [],
  stepTokens: stepTokenBounds.map(() => 1).concat(0, 64), requestPreemptions: preemptionBounds.map(() => 0).concat(0, 0),
}; // biome-ignore format: a list of figures

/** Name and labels -> value. */
function scrape(metrics: Metrics): Map<string, number> {
  const { text } = metrics.exposition();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

const labels = '{engine="0",model_name="m"}';

test("the engine's figures under vLLM's names, fresh at each scrape", () => {
  const metrics = new Metrics();
  let running = 2;
  metrics.setModel('m', { counters: () => ({ ...figures, running }) }, 1024, { block_size: '16' });
  assert.equal(scrape(metrics).get(`vllm:num_requests_running${labels}`), 2);
  running = 0;
  const values = scrape(metrics);
  assert.equal(values.get(`vllm:num_requests_running${labels}`), 0);
  assert.equal(values.get(`vllm:num_requests_waiting${labels}`), 3);
  assert.equal(values.get(`vllm:kv_cache_usage_perc${labels}`), 0.25);
  assert.equal(values.get(`vllm:prompt_tokens_total${labels}`), 100);
  assert.equal(values.get(`vllm:prefix_cache_hits_total${labels}`), 32);
  assert.equal(values.get('vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_compute"}'), 68);
  assert.equal(values.get('vllm:cache_config_info{block_size="16",engine="0"}'), 1);
  assert.ok(values.get('process_resident_memory_bytes')! > 1e6);
});

test('speculation, where there is some', () => {
  const names = (values: Map<string, number>) => [...values.keys()].filter((name) => name.startsWith('vllm:spec_decode'));
  const without = new Metrics();
  without.setModel('m', { counters: () => figures }, 1024, {});
  assert.deepEqual(names(scrape(without)), []);
  const metrics = new Metrics();
  const counts = { specDrafts: 4, specDraftTokens: 8, specAcceptedTokens: 5, specAcceptedPerPosition: [3, 2] };
  metrics.setModel('m', { counters: () => ({ ...figures, ...counts }) }, 1024, {});
  const values = scrape(metrics);
  assert.equal(names(values).filter((name) => !name.includes('_created')).length, 5);
  assert.equal(values.get(`vllm:spec_decode_num_drafts_total${labels}`), 4);
  assert.equal(values.get(`vllm:spec_decode_num_draft_tokens_total${labels}`), 8);
  assert.equal(values.get(`vllm:spec_decode_num_accepted_tokens_total${labels}`), 5);
  assert.equal(values.get('vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="1"}'), 2);
});

test('10 requests of 10 tokens: counts and sums', () => {
  const metrics = new Metrics();
  metrics.setModel('m', { counters: () => figures }, 1024, {});
  for (let i = 0; i < 10; i++) {
    const timer = metrics.track({ promptTokens: { length: 7 }, sampling: { n: 1 }, stop: { maxTokens: 10 } }, performance.now());
    timer.prompt(2, 500);
    for (let token = 0; token < 10; token++) timer.tokens(0, 1, token === 9 ? 'length' : null);
    timer.closed();
  }
  const values = scrape(metrics);
  assert.equal(values.get(`vllm:time_to_first_token_seconds_count${labels}`), 10);
  assert.equal(values.get(`vllm:inter_token_latency_seconds_count${labels}`), 90);
  assert.equal(values.get(`vllm:request_prompt_tokens_sum${labels}`), 70);
  assert.equal(values.get(`vllm:request_prefill_kv_computed_tokens_sum${labels}`), 50);
  assert.equal(values.get(`vllm:request_generation_tokens_sum${labels}`), 100);
  assert.equal(values.get(`vllm:request_params_n_count${labels}`), 10);
  assert.equal(values.get(`vllm:request_queue_time_seconds_sum${labels}`), 5);
  assert.equal(values.get('vllm:request_success_total{engine="0",finished_reason="length",model_name="m"}'), 10);
});

test('what was closed without an end was aborted', () => {
  const metrics = new Metrics();
  metrics.setModel('m', { counters: () => figures }, 1024, {});
  const timer = metrics.track({ promptTokens: { length: 7 }, sampling: { n: 2 }, stop: { maxTokens: 10 } }, performance.now());
  timer.tokens(0, 1, 'stop');
  timer.closed();
  const values = scrape(metrics);
  assert.equal(values.get('vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"}'), 1);
  assert.equal(values.get('vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"}'), 1);
});

test('a step, and how often a request was preempted, as the engine counts them', () => {
  const metrics = new Metrics();
  metrics.setModel('m', { counters: () => figures }, 1024, {});
  const values = scrape(metrics);
  assert.equal(values.get('vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"}'), 2);
  assert.equal(values.get(`vllm:iteration_tokens_total_count${labels}`), stepTokenBounds.length);
  assert.equal(values.get(`vllm:iteration_tokens_total_sum${labels}`), 64);
  assert.equal(values.get(`vllm:request_num_preemptions_count${labels}`), 0);
  assert.ok(values.get(`vllm:iteration_tokens_total_created${labels}`)! > 1.7e9);
});

test('threads count for themselves and show the sum', () => {
  const sheets = [createSheet(), createSheet()];
  const routes = [{ method: 'POST', path: '/v1/completions' }];
  const both = [0, 1].map((own) => new Metrics({ routes, sheets, own }));
  for (const metrics of both) {
    metrics.setModel('m', { counters: () => figures }, 1024, {});
    metrics.track({ promptTokens: { length: 7 }, sampling: { n: 1 }, stop: { maxTokens: 10 } }, performance.now()).closed();
    metrics.http.observe('POST', '/v1/completions', 200, 0.2, 100, 50);
  }
  both[1]!.rejected();
  for (const values of both.map(scrape)) {
    assert.equal(values.get('vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"}'), 2);
    assert.equal(values.get('vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"}'), 1);
    assert.equal(values.get('http_requests_total{handler="/v1/completions",method="POST",status="2xx"}'), 2);
    assert.equal(values.get('http_request_duration_seconds_bucket{handler="/v1/completions",le="0.5",method="POST"}'), 2);
    assert.equal(values.get('http_request_duration_highr_seconds_count'), 2);
    assert.equal(values.get('http_request_size_bytes_sum{handler="/v1/completions"}'), 200);
  }
});

test('requests without a route count under none; what never came is not shown', () => {
  const metrics = new Metrics({ routes: [{ method: 'GET', path: '/v1/models' }], sheets: [createSheet()], own: 0 });
  metrics.http.observe('GET', null, 404, 0.001, 0, 10);
  metrics.http.observe('BREW', null, 404, 0.001, 0, 10);
  const shown = [...scrape(metrics)].filter(([name]) => name.startsWith('http_requests_total'));
  assert.deepEqual(shown, [['http_requests_total{handler="none",method="GET",status="4xx"}', 1]]);
});

test('buckets of token counts go up to the longest sequence', () => {
  assert.deepEqual(tokenCountBounds(100), [1, 2, 5, 10, 20, 50, 100]);
  assert.deepEqual(tokenCountBounds(4096).at(-1), 2000);
});

test('what each rank is on', () => {
  const metrics = new Metrics();
  metrics.setDevices(['cuda:0 NVIDIA H200', 'cuda:1 NVIDIA H200']);
  assert.equal(scrape(metrics).get('lockstep:rank_info{device="cuda:1 NVIDIA H200",rank="1"}'), 1);
});
