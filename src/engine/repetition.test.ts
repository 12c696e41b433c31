import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { endsInCircles } from './repetition.js';

test('a pattern that is there often enough, at the end', () => {
  const rule = { minPattern: 2, maxPattern: 3, minCount: 3 };
  assert.equal(endsInCircles([9, 1, 2, 1, 2, 1, 2], rule), true);
  assert.equal(endsInCircles([1, 2, 3, 1, 2, 3, 1, 2, 3], rule), true);
  assert.equal(endsInCircles([1, 2, 1, 2, 1, 2, 9], rule), false, 'not at the end');
  assert.equal(endsInCircles([1, 2, 1, 2], rule), false, 'twice');
  assert.equal(endsInCircles([7, 7, 7], rule), false, 'too short a pattern');
  assert.equal(endsInCircles([7, 7, 7, 7, 7, 7], rule), true, 'as pairs they are long enough');
});

test('the same as comparing the pieces', () => {
  const rules = fc.record({
    minPattern: fc.integer({ min: 1, max: 4 }),
    maxPattern: fc.integer({ min: 1, max: 5 }),
    minCount: fc.integer({ min: 2, max: 4 }),
  });
  const byPieces = (ids: number[], { minPattern, maxPattern, minCount }: { minPattern: number; maxPattern: number; minCount: number }) => {
    for (let length = minPattern; length <= maxPattern; length++) {
      const pieces = Array.from({ length: minCount }, (_, i) => ids.slice(ids.length - length * (i + 1), ids.length - length * i).join());
      if (ids.length >= length * minCount && new Set(pieces).size === 1) return true;
    }
    return false;
  };
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 30 }),
      rules,
      (ids, rule) => endsInCircles(ids, rule) === byPieces(ids, rule),
    ),
    { numRuns: 2000 },
  );
});
