import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { loadTokenizer } from './load.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-tokenizer-'));
after(() => rmSync(folder, { recursive: true }));

function load(json: unknown, config: Record<string, unknown> = {}) {
  const path = join(folder, 'tokenizer.json');
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json));
  return loadTokenizer({ kind: 'huggingface', path, config });
}

const refused = (pattern: RegExp) => (error: unknown) =>
  error instanceof LockstepError && error.code === 'start' && error.message.includes(folder) && pattern.test(error.message);

test('a file that cannot be used is one start error with path and fault', async () => {
  await assert.rejects(load('{"model":'), refused(/JSON/));
  await assert.rejects(load('[]'), refused(/no "model"/));
  await assert.rejects(load({ model: { type: 'BPE', vocab: { a: 0 } } }), refused(/merges/));
  await assert.rejects(load({ model: { type: 'BPE', vocab: { a: -1 }, merges: [] } }), refused(/"a" has the id -1/));
  await assert.rejects(load({ model: { type: 'BPE', vocab: { a: 0 }, merges: ['a a'] } }), refused(/merge 0/));
  await assert.rejects(load({ model: { type: 'Hash', vocab: {} } }), refused(/"Hash"/));
  await assert.rejects(
    load({ model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, decoder: { type: 'BPEDecoder', suffix: '' } }),
    refused(/its decoder BPEDecoder is not supported/),
  );
  await assert.rejects(loadTokenizer({ kind: 'huggingface', path: join(folder, 'absent.json'), config: {} }), refused(/ENOENT/));
});

test('tokens that only tokenizer_config.json knows are added', async () => {
  const config = { bos_token: { content: '<s>' }, added_tokens_decoder: { 1: { content: '<s>', special: true } } };
  const tokenizer = await load({ model: { type: 'BPE', vocab: { a: 0 }, merges: [] } }, config);
  assert.deepEqual(await tokenizer.encode('a<s>a', { addSpecialTokens: false }), Int32Array.of(0, 1, 0));
  assert.equal(tokenizer.bosTokenId, 1);
});

test('a Unigram model is encoded by the library and decoded here', async () => {
  const tokenizer = await load({
    version: '1.0',
    added_tokens: [{ id: 0, content: '<unk>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [
        ['<unk>', 0],
        ['▁hello', -1],
        ['▁world', -1.5],
        ['s', -2],
      ],
    },
  });
  const ids = await tokenizer.encode('hello worlds', { addSpecialTokens: false });
  assert.deepEqual([...ids], [1, 2, 3]);
  assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), 'hello worlds');
});
