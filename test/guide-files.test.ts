/**
 * The bundled model's folder: small enough to carry, complete, and readable by the rooms that read any model. What it answers is
 * asked in `e2e/guide.test.ts`.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createChatTemplate } from '../src/chat/template.js';
import { loadModel } from '../src/model/load.js';
import { loadTokenizer } from '../src/tokenizer/load.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const folder = join(root, 'models', 'guide');
const folderBytesMax = 8_000_000;

test('the folder has what a Hugging Face folder has, in at most 8 MB', () => {
  const files = readdirSync(folder);
  for (const name of [
    'README.md',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]) {
    assert.ok(files.includes(name), `${name} is missing`);
  }
  const bytes = files.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  assert.ok(bytes <= folderBytesMax, `${bytes} bytes`);
});

test('the card says that it is a demonstration', () => {
  assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /demonstration, not an assistant/);
});

test('it loads, and neither its heads nor its vocabulary divide evenly over ranks', async () => {
  const { spec, computeType, notes } = await loadModel(folder, { dtype: 'auto' });
  assert.equal(computeType, 'bfloat16');
  assert.deepEqual(notes, []);
  assert.equal(spec.dims.kvHeads % 2, 1);
  for (let ranks = 2; ranks <= 8; ranks++) assert.notEqual(spec.dims.vocab % ranks, 0);
});

test('the template puts a system prompt first and leaves one that is given; every mark is one token', async () => {
  const { tokenizer: source, chatTemplate, generation } = await loadModel(folder, { dtype: 'auto' });
  assert.ok(chatTemplate);
  const tokenizer = await loadTokenizer(source);
  const template = createChatTemplate(chatTemplate, tokenizer);
  const options = { addGenerationPrompt: true, continueFinalMessage: false };
  const text = template.render([{ role: 'user', content: 'Hi' }], options);
  const expected = '<|im_start|>system\nYou are the Lockstep guide.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n';
  assert.equal(text, expected);
  const own = template.render(
    [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
    ],
    options,
  );
  assert.ok(own.startsWith('<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n'));
  const ids = await tokenizer.encode(text, { addSpecialTokens: false });
  assert.equal(tokenizer.decode(ids, { skipSpecialTokens: false }), text);
  const ends = [...ids].filter((id) => generation.eosTokenIds.includes(id));
  assert.equal(ends.length, 2);
});
