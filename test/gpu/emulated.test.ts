/** scripts/gpu-check over emulated devices: its bundle is made, unpacked into a bare folder and run there; and what is wrong makes it fail. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Report } from './report.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-gpu-check-'));
const unpacked = join(folder, 'gpu-check-emulated');
after(() => rmSync(folder, { recursive: true }));

function gpuCheck(
  variables: Readonly<Record<string, string>>,
  ...args: readonly string[]
): { status: number | null; log: string; report: Report } {
  const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, ...variables };
  const { status, stderr } = spawnSync(join(unpacked, 'gpu-check'), ['--out', 'report', ...args], { cwd: folder, env, encoding: 'utf8' });
  return { status, log: stderr, report: JSON.parse(readFileSync(join(folder, 'report/gpu-check.json'), 'utf8')) as Report };
}

describe('scripts/gpu-check on emulated devices', { skip: spawnSync('xz', ['--version']).status !== 0 && 'xz is not here' }, () => {
  before(() => {
    const bundle = join(folder, 'bundle.tar.xz');
    const made = spawnSync('scripts/gpu-check', ['--emulated', '--bundle', bundle, '--without-node'], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    assert.match(made.stderr, /packed .*bundle\.tar\.xz, \d+\.\d MB/);
    assert.ok(statSync(bundle).size < 20e6);
    execFileSync('tar', ['-xf', bundle], { cwd: folder });
    assert.ok(existsSync(join(unpacked, 'gpu-check-torch.py')) && existsSync(join(unpacked, 'docs/gpu.md')));
    assert.ok(!existsSync(join(unpacked, 'node_modules')));
  });

  test('it passes, and says what it did', () => {
    const { status, log, report } = gpuCheck({});
    assert.equal(status, 0, log);
    assert.ok(report.passed && report.emulated);
    assert.deepEqual(
      report.parts.map(({ name, status }) => [name, status]),
      ['operations', 'goldens', 'sameness', 'ranks', 'probes', 'figures tiny'].map((name) => [name, 'done']),
    );
    const checks = report.parts.flatMap(({ lines }) => lines.flatMap((line) => ('check' in line ? [line] : [])));
    assert.ok(checks.every(({ ok }) => ok));
    for (const name of [
      /^rope and attention$/,
      /^every kernel of the table/,
      /stories260K, bfloat16/,
      /recorded/,
      /in chunks/,
      /4 ranks .*libnccl/,
    ])
      assert.equal(checks.filter(({ check }) => name.test(check)).length, 1, String(name));
    for (const name of [
      'copy',
      'product',
      'own product',
      'wgmma product',
      'gap between recordings',
      'decode: gate and up, gated',
      'norm and product of 2 rows of 64, gated',
      'product of 40 rows, 4 bits, own',
      'product of 40 rows, 4 bits, wgmma',
      'sum over 4 ranks, 8 KiB in two shots',
      'tiny: decode, 1 row, context 8',
      'tiny: host gap between steps',
    ])
      assert.ok(
        report.figures.some(({ figure, value }) => figure === name && value === null),
        name,
      );
    assert.equal(report.machine.device, 'Fake GPU 0');
    assert.match(readFileSync(join(folder, 'report/gpu-check.md'), 'utf8'), /^# gpu-check passed on an emulated device\n/);
  });

  for (const [kernel, part] of [
    ['attention', 'operations'],
    ['norm', 'goldens'],
    ['peer_join', 'ranks'],
  ] as const) {
    test(`a wrong value of ${kernel} fails the ${part}`, () => {
      const { status, log, report } = gpuCheck({ EMULATED_GPU_WRONG: kernel }, '--only', part);
      assert.equal(status, 1);
      assert.ok(!report.passed && report.failures.length > 0);
      assert.match(log, new RegExp(`FAILED: ${part}: `));
      assert.equal(report.parts[0]!.status, part === 'operations' ? 'failed' : 'done');
    });
  }

  test('a device that hangs ends one part', () => {
    const file = join(folder, 'now');
    writeFileSync(file, '');
    const { status, report } = gpuCheck({ EMULATED_GPU_FAULT: `0:600:${file}` }, '--only', 'operations', '--seconds', '14');
    assert.equal(status, 1);
    assert.equal(report.failures.length, 1);
    assert.match(report.failures[0]!, /^operations: cut off after \d+ s$/);
  });

  test('a machine without a GPU is told so', () => {
    const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, EMULATED_GPUS: '0' };
    const { status, stderr } = spawnSync(join(unpacked, 'gpu-check'), [], { cwd: folder, env, encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /there is no GPU to check: /);
  });
});

/** Python's integers, made to wrap around as torch's int64 does. */
const wrapping = `
import importlib.util, sys
spec = importlib.util.spec_from_file_location('script', 'scripts/gpu-check-torch.py')
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
class Word(int):
    def wrap(value):
        value %= 1 << 64
        return Word(value - (1 << 64) if value >> 63 else value)
for name in ('add', 'sub', 'mul', 'xor', 'and', 'rshift'):
    call = getattr(int, f'__{name}__')
    setattr(Word, f'__{name}__', lambda self, other, call=call: Word.wrap(call(self, int(other))))
print(hex(script.key_of('layers.3.q')), script.sums(script.key_of('layers.3.q'), Word(202)))
`;

test('the script of torch counts as the native generator does', {
  skip: spawnSync('python3', ['--version']).status !== 0 && 'python3 is not here',
}, () => {
  // The same in native/test/cuda_kernels_test.cpp.
  assert.equal(execFileSync('python3', ['-c', wrapping], { encoding: 'utf8' }).trim(), '0xfd42f92b5c5e0c11 3300');
});
