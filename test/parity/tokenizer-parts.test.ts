/**
 * Parts of tokenizer.json in other combinations than the vectors have, against the `tokenizers` package on random texts. The vocabulary is the
 * small one of the fixtures; normalizer, pre-tokenizer, added tokens and frame are exchanged.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BpeTokenizer } from '../../src/tokenizer/bpe-tokenizer.js';
import { compileBpe } from '../../src/tokenizer/compiled.js';
import { isBpe } from '../../src/tokenizer/definition.js';
import { parseTokenizerJson } from '../../src/tokenizer/huggingface.js';
import { LibraryTokenizer } from '../../src/tokenizer/library-tokenizer.js';
import { fc } from '../property.js';

type Json = Record<string, unknown>;
const base = JSON.parse(readFileSync('test/fixtures/stories260K/tokenizer.json', 'utf8')) as Json & { model: Json };

const added = (content: string, id: number, flags: Json = {}): Json => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...flags,
});
const toMark: Json = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
const metaspace = (prepend_scheme: string, split: boolean): Json => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split });
const splitAt = (pattern: Json, behavior: string, invert = false): Json => ({ type: 'Split', pattern, behavior, invert });
const frame = (ids: readonly number[]): Json => ({
  type: 'TemplateProcessing',
  single: [
    { SpecialToken: { id: '<s>', type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
    { SpecialToken: { id: '</s>', type_id: 0 } },
  ],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
  special_tokens: { '<s>': { id: '<s>', ids: [ids[0]], tokens: ['<s>'] }, '</s>': { id: '</s>', ids: [ids[1]], tokens: ['</s>'] } },
});

const variants: Readonly<Record<string, Json>> = {
  'Llama, not legacy': { normalizer: null, pre_tokenizer: metaspace('first', false) },
  'Metaspace always, split': { normalizer: null, pre_tokenizer: metaspace('always', true) },
  'Metaspace never': { normalizer: null, pre_tokenizer: metaspace('never', true) },
  Gemma: { normalizer: toMark, pre_tokenizer: splitAt({ String: ' ' }, 'MergedWithPrevious') },
  'NFKC and lower case': { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Lowercase' }, toMark] } },
  'runs of marks': {
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' }, toMark] },
    pre_tokenizer: splitAt({ Regex: '▁' }, 'MergedWithNext'),
  },
  Strip: { normalizer: { type: 'Sequence', normalizers: [{ type: 'Strip', strip_left: true, strip_right: true }, toMark] } },
  Contiguous: { pre_tokenizer: splitAt({ Regex: '[a-m]' }, 'Contiguous') },
  'Removed, inverted': { pre_tokenizer: splitAt({ Regex: '[a-z▁]+' }, 'Removed', true) },
  Digits: { pre_tokenizer: { type: 'Digits', individual_digits: false } },
  'added tokens': {
    added_tokens: [
      ...(base['added_tokens'] as Json[]),
      added('<l>', 512, { lstrip: true }),
      added('<r>', 513, { rstrip: true }),
      added('<b>', 514, { lstrip: true, rstrip: true, special: false }),
      added('one', 515, { single_word: true }),
      added('the cat', 516, { normalized: true, special: false }),
      added('<l><r>', 517),
    ],
  },
  frame: {
    post_processor: {
      type: 'Sequence',
      processors: [{ type: 'ByteLevel', trim_offsets: false, add_prefix_space: true, use_regex: true }, frame([1, 2])],
    },
  },
  'no byte fallback': { model: { ...base.model, byte_fallback: false, fuse_unk: false } },
  'unknown tokens fused': { model: { ...base.model, byte_fallback: false, fuse_unk: true } },
  'whole words first': { pre_tokenizer: metaspace('always', true), normalizer: null, model: { ...base.model, ignore_merges: true } },
};

const parts = [
  'the cat',
  ' one',
  'one',
  'once upon',
  '  ',
  ' ',
  '\n',
  '\t',
  '▁',
  '<s>',
  '</s>',
  '<l>',
  '<r>',
  '<b>',
  '12',
  'É',
  'e\u0301',
  '漢',
  '😀',
  'ﬁ',
  'THE',
  'ΟΔΟΣ',
  'a',
  'z',
  '.',
  "'s",
];
/** Not the youngest characters: their normal forms depend on which Unicode version a library was built with (these are all below U+10000). */
const noise = fc
  .string({ unit: 'grapheme', maxLength: 4 })
  .map((text) => text.replace(/[\u32ff\ua7c0-\ua7ff\uab69\u{10000}-\u{10ffff}]/gu, ''));
const texts = fc.array(fc.oneof(fc.constantFrom(...parts), noise), { maxLength: 14 }).map((list) => list.join(''));

for (const [name, changes] of Object.entries(variants)) {
  test(name, async () => {
    const json = JSON.stringify({ ...base, ...changes });
    const definition = parseTokenizerJson(json, {});
    assert.ok(isBpe(definition));
    const ours = new BpeTokenizer(compileBpe(definition));
    const theirs = await LibraryTokenizer.create(json, definition);
    await fc.assert(
      fc.asyncProperty(texts, fc.boolean(), async (text, addSpecialTokens) => {
        assert.deepEqual(ours.encode(text, { addSpecialTokens }), await theirs.encode(text, { addSpecialTokens }), JSON.stringify(text));
      }),
      { numRuns: 200 },
    );
  });
}
