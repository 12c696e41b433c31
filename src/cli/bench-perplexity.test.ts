import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { FakeEngine, FakeTokenizer } from '../api/fake-engine.js';
import { LockstepError } from '../errors.js';
import { benchPerplexityCommand } from './bench-options.js';
import { runBenchPerplexity } from './bench-perplexity.js';
import { loadOptions } from './load-options.js';
import type { EngineOptions } from './options.js';

async function bench(...argv: string[]): Promise<{ table: string; started: EngineOptions[]; running: number }> {
  const started: EngineOptions[] = [];
  let running = 0;
  const output = new PassThrough();
  const start = async (options: EngineOptions) => {
    started.push(options);
    running++;
    return {
      client: new FakeEngine({ stepMs: 1 }),
      tokenizer: new FakeTokenizer(),
      maxModelLen: 512,
      weights: { files: [], tensors: [] },
      stop: async () => {
        running--;
      },
    };
  };
  await runBenchPerplexity(loadOptions(benchPerplexityCommand, argv, {}), start, output);
  return { table: String(output.read()), started, running };
}

test('a row for the model and one for each comparison', async () => {
  const { table, started, running } = await bench('m', '--compare', 'int8', 'int4', 'other.gguf');
  assert.deepEqual(
    started.map(({ model, quantization }) => [model, quantization]),
    [
      ['m', null],
      ['m', 'int8'],
      ['m', 'int4'],
      ['other.gguf', null],
    ],
  );
  assert.equal(running, 0);
  assert.match(table, /^\d+ tokens in windows of 384$/m);
  assert.match(table, /^\| m \| .* \| [\d.]+ \| {2}\|$/m);
  assert.match(table, /^\| other.gguf \| .* \| 1\.0000 ± 0\.0000 \|$/m);
});

test('what cannot be measured is refused', async () => {
  const refused = (message: RegExp) => (error: unknown) => error instanceof LockstepError && message.test(error.message);
  await assert.rejects(bench('m', '--text', '/nowhere.txt'), refused(/--text \/nowhere.txt cannot be read/));
  await assert.rejects(bench('m', '--window', '512'), refused(/--window 512 leaves no room in the model's 512 tokens/));
});
