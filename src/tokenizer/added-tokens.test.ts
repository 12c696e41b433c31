import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddedTokenSplitter } from './added-tokens.js';
import type { AddedToken } from './definition.js';

function splitter(...tokens: (Partial<AddedToken> & { content: string })[]) {
  const full = tokens.map((token, id) => ({
    id,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
    ...token,
  }));
  return createAddedTokenSplitter(
    full,
    full.map(({ content }) => content),
  );
}

test('leftmost, then longest; characters of patterns are only characters', () => {
  const { split } = splitter({ content: '<|a' }, { content: '<|a|>' }, { content: '[.*]' });
  assert.deepEqual(split('x<|a|><|ay[.*]'), ['x', 1, 0, 'y', 2]);
  assert.deepEqual(split(''), []);
  assert.deepEqual(split('plain'), ['plain']);
});

test('lstrip and rstrip take white space along, but none that another token has', () => {
  assert.deepEqual(splitter({ content: '<m>', lstrip: true }).split('a \n<m> b'), ['a', 0, ' b']);
  assert.deepEqual(splitter({ content: '<m>', rstrip: true }).split('a <m> \tb'), ['a ', 0, 'b']);
  assert.deepEqual(splitter({ content: '<m>', lstrip: true, rstrip: true }).split('<m> <m>'), [0, 0]);
});

test('single_word: not inside a word', () => {
  const { split } = splitter({ content: 'cat', single_word: true });
  assert.deepEqual(split('cat concat cats (cat)'), [0, ' concat cats (', 0, ')']);
});
