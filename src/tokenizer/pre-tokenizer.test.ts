import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnsupportedComponent } from './definition.js';
import { createPreTokenizer } from './pre-tokenizer.js';

const split = (text: string, definition: Parameters<typeof createPreTokenizer>[0], atStart = true) =>
  createPreTokenizer(definition)([text], atStart);
const hyphens = (behavior: string, invert = false) => ({ type: 'Split', pattern: { String: '-' }, behavior, invert });

// Expected values: documentation of tokenizers' SplitDelimiterBehavior, "the-final--countdown".
test('every behaviour of Split', () => {
  const text = 'the-final--countdown';
  assert.deepEqual(split(text, hyphens('Removed')), ['the', 'final', 'countdown']);
  assert.deepEqual(split(text, hyphens('Isolated')), ['the', '-', 'final', '-', '-', 'countdown']);
  assert.deepEqual(split(text, hyphens('MergedWithPrevious')), ['the-', 'final-', '-', 'countdown']);
  assert.deepEqual(split(text, hyphens('MergedWithNext')), ['the', '-final', '-', '-countdown']);
  assert.deepEqual(split(text, hyphens('Contiguous')), ['the', '-', 'final', '--', 'countdown']);
  assert.deepEqual(split('a-b', { ...hyphens('Removed', true), pattern: { Regex: '[a-z]' } }), ['a', 'b']);
});

test('text that a pattern does not match is kept, in one piece', () => {
  assert.deepEqual(split('12ab34', { type: 'Split', pattern: { Regex: '[a-z]+' }, behavior: 'Isolated', invert: false }), [
    '12',
    'ab',
    '34',
  ]);
});

test('ByteLevel, Digits and their sequence, in which a look-ahead ends with its piece', () => {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
  assert.deepEqual(split("I'm  42", byteLevel), ['I', "'m", ' ', ' 42']);
  assert.deepEqual(split('a', { ...byteLevel, add_prefix_space: true }), [' a']);
  const digits = { type: 'Digits', individual_digits: true };
  assert.deepEqual(split('I  42', { type: 'Sequence', pretokenizers: [digits, byteLevel] }), ['I', '  ', '4', '2']);
});

test('Metaspace: always, first, never', () => {
  const metaspace = (prepend_scheme: string, split = true) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split });
  assert.deepEqual(split('a b', metaspace('always')), ['▁a', '▁b']);
  assert.deepEqual(split('a b', metaspace('first'), false), ['a', '▁b']);
  assert.deepEqual(split('a b', metaspace('first', false)), ['▁a▁b']);
  assert.deepEqual(split('a', metaspace('never')), ['a']);
});

test('an unknown kind is an UnsupportedComponent', () => {
  assert.throws(() => createPreTokenizer({ type: 'UnicodeScripts' }), UnsupportedComponent);
});
