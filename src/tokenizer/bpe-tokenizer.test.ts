import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { BpeTokenizer } from './bpe-tokenizer.js';
import { byteAlphabet, toByteAlphabet } from './byte-alphabet.js';
import { compileBpe } from './compiled.js';
import type { BpeDefinition } from './definition.js';
import { createDetokenizer } from './detokenizer.js';
import { LibraryTokenizer } from './library-tokenizer.js';

const bpe = (definition: BpeDefinition) => new BpeTokenizer(compileBpe(definition));

/** Byte-level merges learnt from a text: enough for words of several tokens. */
function train(text: string, count: number): [string, string][] {
  const words = text.split(/(?= )/).map((word) => [...toByteAlphabet(word)]);
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) counts.set(`${word[i]} ${word[i + 1]}`, (counts.get(`${word[i]} ${word[i + 1]}`) ?? 0) + 1);
    }
    const best = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (best === undefined) break;
    const [a, b] = best[0].split(' ') as [string, string];
    merges.push([a, b]);
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) if (word[i] === a && word[i + 1] === b) word.splice(i, 2, a + b);
    }
  }
  return merges;
}

const sample = 'the cat sat on the mat and the dog sat on the log while the weather was rather better than the other day ';
const learnt = train(sample.repeat(3), 60);

function define(overrides: Partial<BpeDefinition> = {}, bytes: readonly string[] = byteAlphabet, merges = learnt): BpeDefinition {
  const tokens = [...new Set([...bytes, ...merges.map(([a, b]) => a + b)])];
  return {
    vocab: new Map(tokens.map((token, id) => [token, id])),
    tokens,
    addedTokens: [
      { id: tokens.length, content: '<|end|>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    normalizer: null,
    preTokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    postProcessor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', merges },
    bosToken: null,
    eosToken: '<|end|>',
    ...overrides,
  };
}

const plain = { addSpecialTokens: false };
const keep = { skipSpecialTokens: false };
const texts = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc
    .array(fc.constantFrom('the', ' the', ' other', 'weather', '  ', '\n', '1', '42', "'s", '😀', 'é'), { maxLength: 30 })
    .map((parts) => parts.join('')),
);

test('any text comes back, whole and id by id', () => {
  const tokenizer = bpe(define());
  fc.assert(
    fc.property(texts, (text) => {
      const ids = tokenizer.encode(text, plain);
      assert.equal(tokenizer.decode(ids, keep), text);
      const detokenizer = createDetokenizer(tokenizer, keep);
      assert.equal([...ids].map((id) => detokenizer.push(id)).join('') + detokenizer.flush(), text);
    }),
  );
});

/** Hugging Face's own, of the same definition. */
function byLibrary({ vocab, preTokenizer, decoder, model }: BpeDefinition): Promise<LibraryTokenizer> {
  const json = {
    version: '1.0',
    added_tokens: [],
    pre_tokenizer: { trim_offsets: false, ...preTokenizer },
    decoder: { add_prefix_space: false, trim_offsets: false, use_regex: true, ...decoder },
    model: { ...model, vocab: Object.fromEntries(vocab) },
  };
  return LibraryTokenizer.create(JSON.stringify(json), define());
}

const withLongWords = fc.oneof(
  texts,
  fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', 'abcd', ' '), maxLength: 40 }),
  fc.array(fc.constantFrom('the', 'o', 'other', 'weath', 'é'), { minLength: 80, maxLength: 200 }).map((parts) => parts.join('')),
);
const definitions: Readonly<Record<string, BpeDefinition>> = {
  'all bytes': define({ addedTokens: [] }),
  'bytes missing': define(
    { addedTokens: [] },
    byteAlphabet.filter((_, byte) => byte !== 0x31 && byte !== 0xc3),
  ),
  'a merge before those of its parts': define({ addedTokens: [] }, byteAlphabet, [
    ['ab', 'c'],
    ['b', 'c'],
    ['a', 'b'],
  ]),
  'a result of two merges, another between them': define({ addedTokens: [] }, byteAlphabet, [
    ['b', 'c'],
    ['a', 'b'],
    ['ab', 'c'],
    ['bc', 'd'],
    ['a', 'bc'],
  ]),
};

for (const [name, definition] of Object.entries(definitions)) {
  test(`the tokenizers package gives the same ids: ${name}`, async () => {
    const tokenizer = bpe(definition);
    const library = await byLibrary(definition);
    await fc.assert(
      fc.asyncProperty(withLongWords, async (text) => {
        assert.deepEqual(tokenizer.encode(text, plain), await library.encode(text, plain), JSON.stringify(text));
      }),
      { numRuns: 300 },
    );
  });
}

test('bytes that the vocabulary lacks are dropped', () => {
  const tokenizer = bpe(
    define(
      {},
      byteAlphabet.filter((_, byte) => byte !== 4),
    ),
  );
  assert.equal(tokenizer.decode(tokenizer.encode('a\u0004b', plain), keep), 'ab');
});

test('special tokens inside the text are parsed; lone surrogates count as U+FFFD', () => {
  const tokenizer = bpe(define());
  const end = tokenizer.eosTokenId!;
  assert.deepEqual([...tokenizer.encode('<|end|><|end|>', plain)], [end, end]);
  assert.deepEqual(tokenizer.encode('a\ud83db', plain), tokenizer.encode('a\ufffdb', plain));
  assert.equal(tokenizer.decode([end], { skipSpecialTokens: true }), '');
  assert.equal(tokenizer.decode([end], keep), '<|end|>');
  assert.ok(tokenizer.isSpecial(end));
  assert.equal(tokenizer.vocabSize, end + 1);
});

test('the frame is only put there when asked for', () => {
  const postProcessor = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<|end|>' } }, { Sequence: { id: 'A' } }],
    special_tokens: { '<|end|>': { ids: [316] } },
  };
  const tokenizer = bpe(define({ postProcessor }));
  assert.deepEqual([...tokenizer.encode('a', { addSpecialTokens: true })], [316, ...tokenizer.encode('a', plain)]);
});

test('ignore_merges takes a whole word that is a token', () => {
  const tokens = [...byteAlphabet, 'xyz'];
  const definition = { ...define(), tokens, vocab: new Map(tokens.map((token, id) => [token, id])), addedTokens: [] };
  const encode = (ignore: boolean) => [
    ...bpe({ ...definition, model: { type: 'BPE', merges: [], ignore_merges: ignore } }).encode('xyz', plain),
  ];
  assert.deepEqual(encode(true), [256]);
  assert.equal(encode(false).length, 3);
});

/** Over characters, with byte fallback; no pre-tokenizer. */
function sentencePiece(model: Partial<BpeDefinition['model']>, extra: readonly string[] = []): BpeTokenizer {
  const bytes = byteAlphabet.map((_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', '▁', 'a', 'b', 'ab', '▁ab', ...bytes, ...extra];
  return bpe({
    ...define(),
    tokens,
    vocab: new Map(tokens.map((token, id) => [token, id])),
    addedTokens: [],
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    preTokenizer: null,
    decoder: null,
    model: { type: 'BPE', merges: ['a b', '▁ ab'], unk_token: '<unk>', byte_fallback: true, ...model },
  });
}

test('characters outside the vocabulary become bytes, or the unknown token', () => {
  assert.deepEqual([...sentencePiece({}).encode('ab ab', plain)], [4, 5]);
  assert.deepEqual([...sentencePiece({}).encode('é', plain)], [6 + 0xc3, 6 + 0xa9]);
  assert.deepEqual([...sentencePiece({ byte_fallback: false }).encode('aéé', plain)], [2, 0, 0]);
  assert.deepEqual([...sentencePiece({ byte_fallback: false, fuse_unk: true }).encode('aéé', plain)], [2, 0]);
});

test('where a token reaches over the start of a word, texts are not cut there', () => {
  const across = sentencePiece({ merges: ['b ▁', 'a b'] }, ['b▁']);
  assert.deepEqual([...across.encode('ab a', plain)], [2, across.vocabSize - 1, 2]);
});

test('the time for one long word grows with its length alone', () => {
  const tokens = [...byteAlphabet, 'aa', 'aaaa', 'aaaaaaaa'];
  const tokenizer = bpe({
    ...define(),
    tokens,
    vocab: new Map(tokens.map((token, id) => [token, id])),
    addedTokens: [],
    model: { type: 'BPE', merges: ['a a', 'aa aa', 'aaaa aaaa'] },
  });
  const startMs = performance.now();
  assert.equal(tokenizer.encode('a'.repeat(100_000), plain).length, 12_500);
  // 20 ms, however busy the machine is; an engine whose time is quadratic takes over a minute.
  assert.ok(performance.now() - startMs < 20_000);
});
