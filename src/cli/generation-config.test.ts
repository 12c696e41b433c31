import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplingDefaults } from './generation-config.js';

const model = { eosTokenIds: [2], bosTokenId: null, padTokenId: null, temperature: 0.6, topK: 20 };

test('overrides win over the model, which wins over nothing', () => {
  assert.deepEqual(samplingDefaults(model, 'auto', { temperature: 0.5 }), { ...model, temperature: 0.5 });
  assert.deepEqual(samplingDefaults(model, 'vllm', { top_p: 1 }), { eosTokenIds: [2], topP: 1 });
  assert.equal(samplingDefaults(model, 'models/guide', {}).temperature, 0);
});

test('a default that no request could ask for is refused at start', () => {
  assert.throws(() => samplingDefaults(model, 'auto', { top_p: 0 }), /top_p is 0 and must be a number, above 0 and at most 1/);
  assert.throws(
    () => samplingDefaults({ ...model, temperature: 5 }, 'auto', {}),
    /temperature is 5 and must be a number, at least 0 and at most 2/,
  );
  assert.throws(() => samplingDefaults(model, '/nowhere', {}), /--generation-config must be .* and \/nowhere is none/);
  assert.throws(() => samplingDefaults(model, 'auto', { warmth: 1 }), /'warmth' is not one of temperature/);
});
