/** What the report makes of lines, and of parts that end as they should not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FigureLine, type Line, readLine } from './line.js';
import { failuresOf, type PartResult, runPart } from './parts.js';
import { type Machine, makeReport, toMarkdown } from './report.js';

const right: Line = { check: 'norms', ok: true, detail: '' };
const part = (change: Partial<PartResult>): PartResult => ({
  name: 'operations',
  kind: 'checks',
  status: 'done',
  seconds: 1,
  lines: [right],
  log: '',
  ...change,
});
const machine: Machine = {
  device: 'A GPU',
  capability: '9.0',
  multiprocessors: 132,
  memoryBytes: 141 * 2 ** 30,
  clocks: { before: null, after: '1980 MHz' },
  versions: { Node: '20' },
};
const figure = (name: string, value: number, bound: number | null, unit = 'tok/s'): FigureLine => ({
  figure: name,
  value,
  unit,
  note: '',
  bound,
});
const run = { emulated: false, startedAt: 'now', seconds: 2, torch: {} };

test('lines of the native program and of parts are read, and other words are not', () => {
  const native = (failures: number, expectations = 9) => readLine(JSON.stringify({ check: 'norms', expectations, failures, worst: 0.5 }));
  assert.deepEqual(native(0), { check: 'norms', ok: true, detail: '9 expectations, at most 50 % of a tolerance' });
  assert.deepEqual(native(2), { check: 'norms', ok: false, detail: '2 of 9 expectations failed, at most 50 % of a tolerance' });
  assert.equal((native(0, 0) as { ok: boolean }).ok, false, 'a check of nothing');
  const probe = JSON.stringify({ probe: 'copy', value: 4300, unit: 'GB/s', note: '1024 MiB' });
  assert.deepEqual(readLine(probe), { figure: 'copy', value: 4300, unit: 'GB/s', note: '1024 MiB', bound: null });
  assert.deepEqual(readLine(JSON.stringify(right)), right);
  for (const text of ['norms', '{"check":', '7', 'null', '{}']) assert.equal(readLine(text), null);
});

test('a check that fails, is cut off, is left out, or says nothing is a failure; figures that are cut off are not', () => {
  assert.deepEqual(failuresOf(part({})), []);
  assert.deepEqual(failuresOf(part({ lines: [right, { check: 'gemm', ok: false, detail: 'off' }] })), ['operations: gemm: off']);
  assert.deepEqual(failuresOf(part({ status: 'cut', seconds: 60 })), ['operations: cut off after 60 s']);
  assert.deepEqual(failuresOf(part({ status: 'left out', lines: [] })), ['operations: no time was left for it']);
  assert.deepEqual(failuresOf(part({ status: 'failed' })), ['operations: its process failed']);
  assert.deepEqual(failuresOf(part({ lines: [] })), ['operations: it said nothing']);
  for (const status of ['cut', 'left out'] as const) assert.deepEqual(failuresOf(part({ kind: 'figures', status, lines: [] })), []);
  assert.deepEqual(failuresOf(part({ kind: 'figures', status: 'failed', lines: [] })), ['operations: its process failed']);
});

test('a part is ended at its deadline, and what it had said until then is kept', async () => {
  const script = `console.log('${JSON.stringify(right)}'); console.error('so far'); setTimeout(() => {}, 60000)`;
  const slow = { name: 'slow', kind: 'checks', seconds: 3, command: [process.execPath, '-e', script] } as const;
  const result = await runPart(slow, 100, process.env);
  assert.equal(result.status, 'cut');
  assert.deepEqual(result.lines, [right]);
  assert.match(result.log, /so far/);
  assert.equal((await runPart(slow, 1, process.env)).status, 'left out');
  const wrong = await runPart({ ...slow, command: [process.execPath, '-e', 'process.exit(3)'] }, 100, process.env);
  assert.equal(wrong.status, 'failed');
  const none = await runPart({ ...slow, command: ['/nowhere/program'] }, 100, process.env);
  assert.deepEqual([none.status, none.lines.length], ['failed', 0]);
});

test('figures stand beside their bounds, what is wanted, and torch', () => {
  const lines = [
    figure('8B: decode, 1 row, context 128', 250, 286),
    figure('8B: decode, 32 rows, context 512', 5000, 9000),
    figure('8B: prefill, 2048 tokens', 40000, 52000),
    figure('8B: host gap between steps', 20, null, 'us'),
  ];
  const torch = { '8B: decode, 1 row, context 128': 240, '8B: prefill, 2048 tokens': 45000 };
  const report = makeReport([part({ kind: 'figures', lines })], machine, { ...run, torch });
  assert.ok(report.passed, 'speed is no failure');
  const [decode, batch, prefill, gap] = report.figures;
  assert.deepEqual([decode!.isReached, decode!.wanted], [true, '85 % of the bound, 243 tok/s, more than torch']);
  assert.ok(Math.abs(decode!.share! - 250 / 286) < 1e-9);
  assert.deepEqual([batch!.isReached, batch!.wanted], [false, '75 % of the step rate of one row']); // 156 of 250 steps
  assert.deepEqual([prefill!.isReached, prefill!.torch], [false, 45000]);
  assert.deepEqual([gap!.isReached, gap!.wanted], [false, 'at most 15 us']);
  const page = toMarkdown(report);
  assert.match(page, /^# gpu-check passed\n/);
  assert.match(
    page,
    /\| 8B: decode, 1 row, context 128 \| 250 tok\/s \| 286 \| 87 % \| 240 \| 85 % of the bound, 243 tok\/s, more than torch: yes \|/,
  );
  assert.match(page, /Clocks before: nvidia-smi is not there\n\nClocks after: 1980 MHz/);
});

test('failures come first; an emulated device has no figures', () => {
  const parts = [
    part({ status: 'cut', log: 'a kernel hangs' }),
    part({ kind: 'figures', lines: [figure('8B: decode, 1 row, context 128', 250, 286)] }),
  ];
  const report = makeReport(parts, machine, { ...run, emulated: true });
  assert.equal(report.passed, false);
  assert.deepEqual([report.figures[0]!.value, report.figures[0]!.share, report.figures[0]!.note], [null, null, 'none: emulated']);
  const page = toMarkdown(report);
  assert.match(page, /^# gpu-check FAILED on an emulated device\n/);
  assert.match(page, /## Failures\n\n- operations: cut off after 1 s/);
  assert.match(page, /## What 'operations' said\n\n```\na kernel hangs\n```/);
  assert.doesNotMatch(page, /250/);
});
