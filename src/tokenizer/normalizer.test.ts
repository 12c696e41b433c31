import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNormalizer } from './normalizer.js';

test('lower case looks at no neighbours', () => {
  const lower = createNormalizer({ type: 'Lowercase' });
  assert.equal(lower('ΟΔΟΣ Σ ς İ'), 'οδοσ σ ς i̇');
});

test('a sequence of steps', () => {
  const normalizer = createNormalizer({
    type: 'Sequence',
    normalizers: [{ type: 'NFKC' }, { type: 'Lowercase' }, { type: 'Prepend', prepend: '▁' }],
  });
  assert.equal(normalizer('ﬁT'), '▁fit');
  assert.equal(normalizer(''), '');
});
