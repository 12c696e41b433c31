/**
 * Tokenizers against vectors made by the Python library `tokenizers` (`data/README.md` of the shared folder, "tokenizers"): the small one of the
 * fixtures always, those of real models where the shared folder is.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDetokenizer } from '../../src/tokenizer/detokenizer.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { sharedData } from '../shared-data.js';

interface Vectors {
  readonly cases: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly ids_with_special?: readonly number[];
    readonly decoded: string | true;
    readonly decoded_skip_special?: string;
  }[];
  readonly lone_surrogates: readonly { readonly utf16_units: readonly number[]; readonly ids: readonly number[] }[];
  readonly decode_cases: readonly { readonly ids: readonly number[]; readonly decoded: string }[];
}

const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as unknown;
const keep = { skipSpecialTokens: false };

async function check(tokenizer: Tokenizer, vectors: Vectors): Promise<void> {
  for (const { text, ids, ids_with_special, decoded, decoded_skip_special } of vectors.cases) {
    const what = JSON.stringify(text.slice(0, 80));
    assert.deepEqual([...(await tokenizer.encode(text, { addSpecialTokens: false }))], ids, what);
    if (ids_with_special !== undefined) {
      assert.deepEqual([...(await tokenizer.encode(text, { addSpecialTokens: true }))], ids_with_special, `${what} with special tokens`);
    }
    const whole = tokenizer.decode(ids, keep);
    assert.equal(whole, decoded === true ? text : decoded);
    if (decoded_skip_special !== undefined) assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), decoded_skip_special);
    assert.equal(streamed(tokenizer, ids), whole, `${what} id by id`);
  }
  for (const { utf16_units, ids } of vectors.lone_surrogates) {
    assert.deepEqual([...(await tokenizer.encode(String.fromCharCode(...utf16_units), { addSpecialTokens: false }))], ids);
  }
  for (const { ids, decoded } of vectors.decode_cases) assert.equal(tokenizer.decode(ids, keep), decoded);
}

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const detokenizer = createDetokenizer(tokenizer, keep);
  return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
}

test('stories512, SentencePiece BPE', async () => {
  const path = 'test/fixtures/stories260K/tokenizer.json';
  const config = readJson('test/fixtures/stories260K/tokenizer_config.json') as Record<string, unknown>;
  await check(await loadTokenizer({ kind: 'huggingface', path, config }), readJson('test/fixtures/stories512/vectors.json') as Vectors);
});

for (const name of ['smollm2', 'gpt2', 'qwen2.5', 'qwen3', 'mistral-v3']) {
  test(name, { skip: sharedData === null && '../shared/data is not here' }, async () => {
    const folder = join(sharedData!, 'tokenizers', name);
    const scratch = mkdtempSync(join(tmpdir(), 'lockstep-vectors-'));
    try {
      const path = unpacked(folder, scratch);
      const config = readJson(join(folder, 'tokenizer_config.json')) as Record<string, unknown>;
      await check(await loadTokenizer({ kind: 'huggingface', path, config }), readJson(join(folder, 'vectors.json')) as Vectors);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
}

/** The larger files lie packed. */
function unpacked(folder: string, scratch: string): string {
  const plain = join(folder, 'tokenizer.json');
  if (existsSync(plain)) return plain;
  const path = join(scratch, 'tokenizer.json');
  writeFileSync(path, execFileSync('xz', ['-dc', `${plain}.xz`], { maxBuffer: 1 << 26 }));
  return path;
}

test('the vocabulary inside a GGUF file gives the same', { skip: sharedData === null && '../shared/data is not here' }, async () => {
  const path = join(sharedData!, 'stories260K', 'gguf', 'stories260K-f32.gguf');
  await check(await loadTokenizer({ kind: 'gguf', path }), readJson('test/fixtures/stories512/vectors.json') as Vectors);
});

const smollm2 = process.env['LOCKSTEP_SMOLLM2_GGUF'];
test('SmolLM2 too', { skip: (!smollm2 || sharedData === null) && 'LOCKSTEP_SMOLLM2_GGUF or ../shared/data is not here' }, async () => {
  const vectors = readJson(join(sharedData!, 'tokenizers/smollm2/vectors.json')) as Vectors;
  await check(await loadTokenizer({ kind: 'gguf', path: smollm2! }), vectors);
});
