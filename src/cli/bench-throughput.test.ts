import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { FakeEngine, FakeTokenizer, fakeContextLen } from '../api/fake-engine.js';
import { LockstepError } from '../errors.js';
import { benchThroughputCommand } from './bench-options.js';
import { runBenchThroughput } from './bench-throughput.js';
import { loadOptions } from './load-options.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-throughput-'));
after(() => rmSync(folder, { recursive: true }));

async function bench(...argv: string[]): Promise<{ report: string; stopped: boolean }> {
  let stopped = false;
  const output = new PassThrough();
  const start = async () => ({
    client: new FakeEngine({ stepMs: 1 }),
    tokenizer: new FakeTokenizer(),
    maxModelLen: fakeContextLen,
    weights: { files: [], tensors: [] },
    stop: async () => {
      stopped = true;
    },
  });
  await runBenchThroughput(loadOptions(benchThroughputCommand, argv, {}), start, output);
  return { report: String(output.read()), stopped };
}

test('random prompts: every token is counted, the engine is stopped, the figures are written', async () => {
  const path = join(folder, 'out.json');
  const { report, stopped } = await bench(
    '--num-prompts',
    '8',
    '--input-len',
    '16',
    '--output-len',
    '4',
    '--n',
    '2',
    '--output-json',
    path,
  );
  assert.match(report, /^Throughput: [\d.]+ requests\/s, [\d.]+ total tokens\/s, [\d.]+ output tokens\/s$/m);
  assert.match(report, /^Total num prompt tokens: {2}128$/m);
  assert.match(report, /^Total num output tokens: {2}64$/m);
  assert.ok(stopped);
  const saved = JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
  assert.equal(saved['total_num_tokens'], 192);
  assert.ok(Math.abs((saved['tokens_per_second'] ?? 0) - 192 / (saved['elapsed_time'] ?? 1)) < 1e-6);
});

test('lines of JSON are tokenized', async () => {
  const path = join(folder, 'prompts.jsonl');
  writeFileSync(path, '{"prompt": "abcd", "output_tokens": 3}\n');
  const { report } = await bench('--dataset-name', 'custom', '--dataset-path', path, '--num-prompts', '2');
  assert.match(report, /^Total num prompt tokens: {2}8$/m);
  assert.match(report, /^Total num output tokens: {2}6$/m);
});

test('what does not fit is refused', async () => {
  const refused = (message: RegExp) => (error: unknown) => error instanceof LockstepError && message.test(error.message);
  await assert.rejects(
    bench('--input-len', '4090', '--output-len', '128', '--num-prompts', '1'),
    refused(/4218 tokens.*does not fit into 4096/),
  );
  await assert.rejects(bench('--dataset-name', 'sharegpt'), refused(/needs --dataset-path/));
  await assert.rejects(bench('--block-size', '20'), refused(/--block-size must be a multiple of 16/));
});
