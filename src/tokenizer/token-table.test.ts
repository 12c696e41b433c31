import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { tableOf } from './token-table.js';

const tokens = fc.array(fc.option(fc.string({ unit: 'grapheme', maxLength: 8 }), { nil: undefined }), { maxLength: 60 });

test('texts and ids are found as in a list, the lowest id of equal texts', () => {
  fc.assert(
    fc.property(tokens, fc.string({ maxLength: 3 }), (list, other) => {
      const table = tableOf(list);
      assert.equal(table.size, list.length);
      for (const [id, token] of list.entries()) assert.equal(table.text(id), token || undefined);
      for (const text of [other, ...list]) if (text) assert.equal(table.find(text), list.indexOf(text));
      assert.equal(table.text(list.length), undefined);
      assert.equal(table.text(-1), undefined);
    }),
  );
});

test('the text of two tokens is found without being made', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ unit: fc.constantFrom('a', 'b', 'é', '漢'), minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 40,
      }),
      (list) => {
        const table = tableOf(list);
        for (const [left, first] of list.entries())
          for (const [right, second] of list.entries()) assert.equal(table.findJoined(left, right), list.indexOf(first + second));
      },
    ),
    { numRuns: 30 },
  );
});
