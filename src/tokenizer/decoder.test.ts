import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { ByteRun, createTokenDecoder, decodeUtf8, incompleteSuffixLength, Utf8Stream } from './decoder.js';
import { UnsupportedComponent } from './definition.js';
import { tableOf } from './token-table.js';
import { Vocabulary } from './vocabulary.js';

const bytes = fc.uint8Array({ maxLength: 40 });
const interesting = fc
  .array(fc.constantFrom(0x41, 0x80, 0xbf, 0xc2, 0xc0, 0xe0, 0xa0, 0xed, 0x9f, 0xef, 0xbb, 0xbd, 0xf0, 0x90, 0xf4, 0x8f, 0xff), {
    maxLength: 30,
  })
  .map((list) => Uint8Array.from(list));

test('a stream of bytes, however it is cut, gives the text of the whole', () => {
  fc.assert(
    fc.property(fc.oneof(bytes, interesting), fc.array(fc.nat({ max: 5 })), (all, cuts) => {
      const stream = new Utf8Stream();
      let text = '';
      let at = 0;
      for (const size of [...cuts, all.length]) {
        text += stream.push(all.slice(at, at + size));
        at += size;
      }
      assert.equal(text + stream.flush(), decodeUtf8(all));
    }),
    { numRuns: 1000 },
  );
});

test('only what can still become a character is held back', () => {
  assert.equal(incompleteSuffixLength(Uint8Array.of(0x61, 0xf0, 0x9f, 0x98)), 3);
  assert.equal(incompleteSuffixLength(Uint8Array.of(0xe0, 0x80)), 0); // overlong: never a character
  assert.equal(incompleteSuffixLength(Uint8Array.of(0xed, 0xa0)), 0); // a surrogate
  assert.equal(incompleteSuffixLength(Uint8Array.of(0xf4, 0x90)), 0); // above U+10FFFF
  assert.equal(incompleteSuffixLength(Uint8Array.of(0x80)), 0);
});

test('single-byte tokens: valid text goes out at once, each wrong byte is one U+FFFD', () => {
  const give = (wholeRuns: boolean, list: readonly number[]) => {
    const run = new ByteRun(wholeRuns);
    return [...list.map((byte) => run.push(byte)), run.flush()];
  };
  assert.deepEqual(give(false, [0xc3, 0xa9, 0xe2, 0x82]), ['', 'é', '', '', '\ufffd\ufffd']);
  assert.deepEqual(give(false, [0xe2, 0x41]), ['', '\ufffdA', '']);
  assert.deepEqual(give(false, [0xef, 0xbf, 0xbd]), ['', '', '\ufffd', '']); // U+FFFD itself
  assert.deepEqual(give(true, [0xc3, 0xa9, 0xe2]), ['', '', '', '\ufffd\ufffd\ufffd']); // tokenizers gives up the whole run
});

test('a SentencePiece text loses one leading space, in its middle none', () => {
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  const vocabulary = new Vocabulary(tableOf(['▁a', '▁', '<0x0A>']), [], createTokenDecoder({ type: 'Sequence', decoders }));
  assert.equal(vocabulary.decode([0, 0], { skipSpecialTokens: true }), 'a a');
  assert.equal(vocabulary.decode([1, 0, 2], { skipSpecialTokens: true }), ' a\n');
  assert.equal(vocabulary.decodeStream({ skipSpecialTokens: true, first: false }).push(0), ' a');
  assert.deepEqual([...vocabulary.tokenBytes(0)], [0x20, 0x61]);
  assert.deepEqual([...vocabulary.tokenBytes(2)], [0x0a]);
  assert.deepEqual([...vocabulary.tokenBytes(99)], []);
});

test('WordPiece puts its spaces back', () => {
  const vocabulary = new Vocabulary(
    tableOf(['hello', '##s', ',', 'you']),
    [],
    createTokenDecoder({ type: 'WordPiece', prefix: '##', cleanup: true }),
  );
  assert.equal(vocabulary.decode([0, 1, 2, 3], { skipSpecialTokens: true }), 'hellos, you');
});

test('a decoder that is not known is refused', () => {
  assert.throws(() => createTokenDecoder({ type: 'CTC' }), UnsupportedComponent);
});
