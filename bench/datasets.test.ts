import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Codec, randomPrompts } from './datasets.js';
import { createRandom } from './random.js';

test('random prompts have the lengths asked for, and no text that is tokenized for them is long', async () => {
  let longest = 0;
  const codec: Codec = {
    async encode(text) {
      longest = Math.max(longest, text.length); // byte by byte, as the poorest tokenizer does
      return [...Buffer.from(text)];
    },
    decode: async (ids) => Buffer.from(ids).toString(),
  };
  const shape = { inputLen: 30, outputLen: 7, rangeRatio: 0, prefixLen: 5 };
  const prompts = await randomPrompts(20, shape, false, codec, createRandom(0));
  assert.deepEqual(new Set(prompts.map(({ promptLen, outputLen }) => `${promptLen} ${outputLen}`)), new Set(['35 7']));
  assert.equal(new Set(prompts.map(({ prompt }) => String(prompt.slice(0, 5)))).size, 1, 'the prefix is shared');
  assert.ok(longest < 512, `${longest} tokens in one request`);
});
