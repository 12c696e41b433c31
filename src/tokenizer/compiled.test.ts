import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DiskCache } from '../cache/disk-cache.js';
import { byteAlphabet } from './byte-alphabet.js';
import { type CompiledBpe, compileBpe, readCompiled, writeCompiled } from './compiled.js';
import type { BpeDefinition } from './definition.js';
import { loadTokenizer } from './load.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-compiled-'));
after(() => rmSync(folder, { recursive: true }));

const tokens = [...byteAlphabet, 'ab', undefined, 'ĠabÉ'];
const definition: BpeDefinition = {
  vocab: new Map(tokens.flatMap((token, id) => (token === undefined ? [] : [[token, id]]))),
  tokens,
  addedTokens: [{ id: 300, content: '<é>', single_word: false, lstrip: true, rstrip: false, normalized: false, special: true }],
  normalizer: { type: 'NFC' },
  preTokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  postProcessor: null,
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', merges: ['a b'] },
  bosToken: null,
  eosToken: '<é>',
};
const scored: BpeDefinition = {
  ...definition,
  model: { type: 'BPE', merges: [], scores: tokens.map((_, id) => -id), byte_fallback: true },
};
const whole = (compiled: CompiledBpe) => new Uint8Array(Buffer.concat(writeCompiled(compiled)));

test('what is written is read, with merges and with scores', () => {
  for (const compiled of [compileBpe(definition), compileBpe(scored)]) assert.deepEqual(readCompiled(whole(compiled)), compiled);
});

test('a file that was changed or cut off is nothing', () => {
  const written = whole(compileBpe(definition));
  for (const at of [0, 40, 100, written.length - 1]) {
    const changed = written.slice();
    changed[at]! ^= 4;
    assert.equal(readCompiled(changed), null);
  }
  for (const length of [0, 50, written.length - 4]) assert.equal(readCompiled(written.slice(0, length)), null);
});

test('a large tokenizer is compiled once and then read; a file that changed, or an entry that is damaged, is compiled anew', async (t) => {
  const path = join(folder, 'tokenizer.json');
  const said: string[] = [];
  const logger = { info() {}, warn: (line: unknown) => said.push(String(line)) };
  const cache = new DiskCache({ folder: join(folder, 'cache'), bytesMax: 1e8, logger });
  const write = (filler: string) =>
    writeFileSync(
      path,
      JSON.stringify({
        filler,
        decoder: definition.decoder,
        pre_tokenizer: definition.preTokenizer,
        model: { type: 'BPE', vocab: Object.fromEntries(definition.vocab), merges: definition.model.merges },
      }),
    );
  write('x'.repeat(2 ** 20));
  const source = { kind: 'huggingface', path, config: {} } as const;
  const ids = async () => [...((await loadTokenizer(source, cache)).encode('ab é', { addSpecialTokens: false }) as Int32Array)];
  const entries = () => readdirSync(join(folder, 'cache'));
  const first = await ids();
  while (said.length === 0 && !readdirSync(folder).includes('cache')) await delay(50);
  while (entries().some((name) => name.endsWith('.partial'))) await delay(10);
  const [entry] = entries();
  assert.deepEqual(entries(), [entry]);
  assert.deepEqual(await ids(), first);

  const stored = readFileSync(join(folder, 'cache', entry!));
  stored[stored.length - 1]! ^= 1;
  writeFileSync(join(folder, 'cache', entry!), stored);
  assert.deepEqual(await ids(), first);
  assert.match(said.join(), /is damaged .*: it is made anew/);

  write('y'.repeat(2 ** 20));
  assert.deepEqual(await ids(), first);
  t.diagnostic(`${entry}`);
});

test('what is wrong with a large file is said as of a small one', async () => {
  const path = join(folder, 'broken.json');
  writeFileSync(path, JSON.stringify({ filler: 'x'.repeat(2 ** 20), model: { type: 'BPE', vocab: { a: 0 }, merges: ['a a'] } }));
  await assert.rejects(
    loadTokenizer({ kind: 'huggingface', path, config: {} }),
    /the tokenizer in .*broken\.json cannot be used: its merge 0/,
  );
});
