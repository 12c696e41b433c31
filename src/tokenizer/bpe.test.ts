import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { BpeMerger, createPairArrays, type MergeTable, pairTable, scoreOrder, scoreTable } from './bpe.js';
import { tableOf } from './token-table.js';

/** The rule itself, with no thought for speed. */
function mergeByTheBook(table: MergeTable, symbols: readonly number[]): number[] {
  const left = [...symbols];
  for (;;) {
    let best = -1;
    let bestMerge = -1;
    for (let i = 0; i + 1 < left.length; i++) {
      const merge = table.find(left[i]!, left[i + 1]!);
      if (merge >= 0 && (bestMerge < 0 || table.order[merge]! < table.order[bestMerge]!)) [best, bestMerge] = [i, merge];
    }
    if (best < 0) return left;
    left.splice(best, 2, table.result[bestMerge]!);
  }
}

function run(table: MergeTable, symbols: readonly number[]): number[] {
  const ids = Int32Array.from(symbols);
  return [...ids.subarray(0, new BpeMerger(table).run(ids, ids.length))];
}

/** Words over "ab" and merges of them; scores with ties. */
const letters = ['a', 'b', 'c'];
const vocabularies = fc.uniqueArray(fc.tuple(fc.nat(), fc.nat()), { maxLength: 40, selector: ([a, b]) => `${a},${b}` }).map((pairs) => {
  const tokens = [...letters];
  const merges: [string, string][] = [];
  for (const [a, b] of pairs) {
    const merge: [string, string] = [tokens[a % tokens.length]!, tokens[b % tokens.length]!];
    const joined = merge.join('');
    if (joined.length > 12) continue;
    if (!tokens.includes(joined)) tokens.push(joined);
    merges.push(merge);
  }
  return { tokens, merges, vocab: new Map(tokens.map((token, id) => [token, id])) };
});
const words = fc.array(fc.nat({ max: 2 }), { maxLength: 150 });

test('short words and long words are merged by the book, from merges', () => {
  fc.assert(
    fc.property(vocabularies, words, ({ tokens, merges, vocab }, word) => {
      const table = pairTable(createPairArrays(merges, vocab, tokens));
      assert.deepEqual(run(table, word), mergeByTheBook(table, word));
    }),
    { numRuns: 300 },
  );
});

test('and from scores, the leftmost of equal ones first', () => {
  fc.assert(
    fc.property(vocabularies, fc.array(fc.integer({ min: -5, max: 0 })), words, ({ tokens }, scores, word) => {
      const order = scoreOrder(
        tokens,
        Float64Array.from(tokens, (_, id) => scores[id] ?? -9),
      );
      const table = scoreTable(order, tableOf(tokens));
      assert.deepEqual(run(table, word), mergeByTheBook(table, word));
    }),
    { numRuns: 300 },
  );
});

test('a merge that needs a token which the vocabulary lacks is an error that names it', () => {
  const tokens = ['a', 'b'];
  assert.throws(
    () => createPairArrays(['a b'], new Map([...tokens.entries()].map(([id, token]) => [token, id])), tokens),
    /merge 0 .*"ab"/,
  );
});
