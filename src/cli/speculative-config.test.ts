import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadServeOptions } from './options.js';
import { parseSpeculativeConfig } from './speculative-config.js';

const ngram = { method: 'ngram', num_speculative_tokens: 6 };

test('bounds of the lookup: both, one for both, none', () => {
  const bounds = (config: object) => {
    const { maxDrafts, lookupMin, lookupMax } = parseSpeculativeConfig({ ...ngram, ...config });
    return [maxDrafts, lookupMin, lookupMax];
  };
  assert.deepEqual(bounds({ prompt_lookup_min: 3, prompt_lookup_max: 7 }), [6, 3, 7]);
  assert.deepEqual(bounds({ prompt_lookup_min: 3 }), [6, 3, 3]);
  assert.deepEqual(bounds({ prompt_lookup_max: 4 }), [6, 4, 4]);
  assert.deepEqual(bounds({}), [6, 2, 5]);
});

test('drafts are tried while they pay, or always', () => {
  assert.equal(parseSpeculativeConfig(ngram).isAdaptive, true);
  assert.equal(parseSpeculativeConfig({ ...ngram, adaptive: false }).isAdaptive, false);
});

test('what cannot be honoured is refused by name', () => {
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ method: 'eagle3', model: 'x', num_speculative_tokens: 2 }, /method must be "ngram" .* not "eagle3"/],
    [{ num_speculative_tokens: 2 }, /method must be "ngram" .* not left out/],
    [{ ...ngram, draft_tensor_parallel_size: 1 }, /'draft_tensor_parallel_size' has no meaning/],
    [{ method: 'ngram' }, /num_speculative_tokens is missing/],
    [{ ...ngram, num_speculative_tokens: 33 }, /num_speculative_tokens must be a whole number from 1 to 32, not 33/],
    [{ ...ngram, adaptive: 'no' }, /adaptive must be true or false, not "no"/],
    [{ ...ngram, prompt_lookup_max: 'x' }, /prompt_lookup_max must be a whole number from 1 to 32, not "x"/],
    [{ ...ngram, prompt_lookup_min: 5, prompt_lookup_max: 3 }, /prompt_lookup_min 5 is more than prompt_lookup_max 3/],
  ];
  for (const [config, message] of refused) assert.throws(() => parseSpeculativeConfig(config), { code: 'start', message });
});

test('the flag takes JSON, or a file that holds it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-speculative-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'ngram.json');
  writeFileSync(file, JSON.stringify(ngram));
  const load = (value: string) => loadServeOptions(['--speculative-config', value], {}).speculativeConfig;
  assert.deepEqual(load(JSON.stringify(ngram)), ngram);
  assert.deepEqual(load(file), ngram);
  assert.deepEqual(loadServeOptions(['-sc', file], {}).speculativeConfig, ngram);
  assert.throws(() => load(join(folder, 'none.json')), { message: /--speculative-config must be a JSON object or a file that holds one/ });
  assert.throws(() => load('{"method": "eagle"}'), { message: /method must be "ngram"/ });
});
