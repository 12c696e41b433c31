import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteAlphabet } from './byte-alphabet.js';
import { createTokenDecoder } from './decoder.js';
import { createDetokenizer } from './detokenizer.js';
import { tableOf } from './token-table.js';
import type { Tokenizer } from './tokenizer.js';
import { Vocabulary } from './vocabulary.js';

/** Ids are bytes; 256 is special. Only what a detokenizer needs. */
const vocabulary = new Vocabulary(
  tableOf(byteAlphabet),
  [{ id: 256, content: '<eos>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
  createTokenDecoder({ type: 'ByteLevel' }),
);
const tokenizer = vocabulary as unknown as Tokenizer;
const smile = [...Buffer.from('😀')];

test('an incomplete character is held back, and is U+FFFD at the end', () => {
  const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens: true });
  assert.deepEqual(
    smile.map((id) => detokenizer.push(id)),
    ['', '', '', '😀'],
  );
  assert.equal(detokenizer.push(smile[0]!), '');
  assert.equal(detokenizer.flush(), '\ufffd');
});

test('a character that the prompt began is completed; the prompt itself is not repeated', () => {
  const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens: true, promptTail: Int32Array.of(0x61, ...smile.slice(0, 2)) });
  assert.deepEqual(
    smile.slice(2).map((id) => detokenizer.push(id)),
    ['', '😀'],
  );
});

test('special tokens are text or nothing', () => {
  assert.equal(createDetokenizer(tokenizer, { skipSpecialTokens: true }).push(256), '');
  assert.equal(createDetokenizer(tokenizer, { skipSpecialTokens: false }).push(256), '<eos>');
  assert.equal(createDetokenizer(tokenizer, { skipSpecialTokens: false }).push(1_000_000), '');
});

test('a special token may be kept as text among those that are skipped', () => {
  const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens: true, keepTokens: new Set([256]) });
  assert.deepEqual(
    [0x61, smile[0]!, 256, 0x62].map((id) => detokenizer.push(id)),
    ['a', '', '\ufffd<eos>', 'b'],
  );
});
