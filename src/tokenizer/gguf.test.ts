import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GgufValue } from '../model/gguf.js';
import { BpeTokenizer } from './bpe-tokenizer.js';
import { byteAlphabet } from './byte-alphabet.js';
import { compileBpe } from './compiled.js';
import { parseGgufTokenizer } from './gguf.js';

const load = (metadata: Record<string, GgufValue>) =>
  new BpeTokenizer(
    compileBpe(
      parseGgufTokenizer({
        path: 'test.gguf',
        tensors: [],
        metadata: new Map(Object.entries(metadata).map(([key, value]) => [key.includes('.') ? key : `tokenizer.ggml.${key}`, value])),
      }),
    ),
  );
const encode = (tokenizer: BpeTokenizer, text: string, addSpecialTokens = false) => [...tokenizer.encode(text, { addSpecialTokens })];

const byteLevel = {
  model: 'gpt2',
  pre: 'llama-bpe',
  tokens: [...byteAlphabet, 'ab', '<|bos|>', '<tool>'],
  token_type: [...byteAlphabet.map(() => 1), 1, 3, 4],
  merges: ['a b'],
  bos_token_id: 257,
  eos_token_id: 257,
};

test('byte-level BPE: merges, special and user-defined tokens, bos as the kind has it', () => {
  const tokenizer = load(byteLevel);
  assert.deepEqual(encode(tokenizer, 'ab<tool>', true), [257, 256, 258]);
  assert.ok(tokenizer.isSpecial(257));
  assert.ok(!tokenizer.isSpecial(258));
  assert.equal(tokenizer.bosToken, '<|bos|>');
  assert.deepEqual(encode(load({ ...byteLevel, add_bos_token: false, add_eos_token: true }), 'ab', true), [256, 257]);
  assert.deepEqual(encode(load({ ...byteLevel, pre: 'qwen2' }), 'ab', true), [256]);
});

const sentencePiece = {
  model: 'llama',
  tokens: ['<unk>', '<s>', '</s>', '▁', 'a', 'b', '▁a', 'ab', '▁ab'],
  scores: [0, 0, 0, -9, -9, -9, -3, -1, -2],
  token_type: [2, 3, 3, 1, 1, 1, 1, 1, 1],
  bos_token_id: 1,
  eos_token_id: 2,
};

test('SentencePiece: the highest score first, a leading space, bos by default', () => {
  const tokenizer = load(sentencePiece);
  assert.deepEqual(encode(tokenizer, 'ab</s>', true), [1, 8, 2]);
  assert.equal(tokenizer.decode([8, 6], { skipSpecialTokens: true }), 'ab a');
  assert.deepEqual(encode(load({ ...sentencePiece, add_space_prefix: false }), 'ab'), [7]);
});

test("Phi-3's special tokens take the white space behind them", () => {
  const tokens = [...sentencePiece.tokens, '<|end|>'];
  const tokenizer = load({
    ...sentencePiece,
    tokens,
    scores: [...sentencePiece.scores, 0],
    token_type: [...sentencePiece.token_type, 3],
    'general.architecture': 'phi3',
  });
  assert.deepEqual(encode(tokenizer, '<|end|>\n'), [9]);
});

test('what is not known or missing is said', () => {
  assert.throws(() => load({}), /holds no tokenizer/);
  assert.throws(() => load({ model: 'bert', tokens: ['a'] }), /"bert".*gpt2/);
  assert.throws(() => load({ ...byteLevel, pre: 'toString' }), /pre-tokenizer.*"toString"/);
  assert.throws(() => load({ ...sentencePiece, scores: [0] }), /scores/);
  assert.throws(() => load({ model: 'gpt2', tokens: ['a'] }), /merges/);
});
