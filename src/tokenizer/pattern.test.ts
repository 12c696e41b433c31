import assert from 'node:assert/strict';
import { test } from 'node:test';
import { translatePattern, UnsupportedPattern } from './pattern.js';

const matches = (pattern: string, text: string) => text.match(translatePattern(pattern));

test('(?i:…) folds as Unicode does, long s and Kelvin sign included', () => {
  assert.deepEqual(matches("(?i:'s|'ll)", "'S 'ſ 'LL 'x"), ["'S", "'ſ", "'LL"]);
  assert.deepEqual(matches('(?i:[k])', 'kK\u212a'), ['k', 'K', '\u212a']);
});

test('\\s is White_Space: U+0085 is one, U+FEFF is none', () => {
  assert.deepEqual(matches('\\s', 'a\u0085b\ufeffc\u3000'), ['\u0085', '\u3000']);
  assert.deepEqual(matches('[^\\s\\p{L}]', 'a\u0085\ufeff'), ['\ufeff']);
});

test('scripts, code points, escapes that JavaScript would refuse', () => {
  assert.deepEqual(matches('\\p{Han}+', 'ab漢字'), ['漢字']);
  assert.deepEqual(matches("\\'\\x{e9}", "'é"), ["'é"]);
  assert.deepEqual(matches('[\\-\\]a]+', '-]a'), ['-]a']);
  assert.deepEqual(matches('(a)(?=b)', 'ab'), ['a']);
});

test('what is not translated is refused, not guessed', () => {
  for (const pattern of ['a++', 'a?+', '[a&&b]', '[[a]b]', '(?P<n>a)', '\\bword', '^a', 'a$', '(a', '[a', '(?i:[a-z])', 'a)']) {
    assert.throws(() => translatePattern(pattern), UnsupportedPattern, pattern);
  }
});
