import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ModelCost } from './models.js';
import { plotOf } from './plot.js';
import { readMachines, resultTables, withMeasuredSpeeds } from './report.js';
import { figureOf, joinResults, type Results, type Row, ratioOf, shareOf } from './results.js';
import { bestRoof, roofSeconds } from './roof.js';
import { workloads } from './workloads.js';

const roof = { bytesPerS: 1e9, bf16PerS: 1e12, int8PerS: 2e12 };
const row: Row = {
  model: '135M',
  format: 'bf16',
  workload: 'decode1',
  unit: 'tok/s',
  bitsPerWeight: 16,
  values: { Lockstep: [30, 20, 40], 'llama.cpp': [10, 10, 16] },
  othersShare: 0,
  roofs: [roof],
  roofValues: [40, 20, 50],
  date: '20260101-000000',
  commit: 'abc',
};
const results: Results = { hardware: { cpu: 'x', cores: 2, memoryGB: 1, node: 'v1' }, versions: { 'llama.cpp': '1' }, rows: [row] };

describe('figures of rows', () => {
  test('medians, ratios of neighbours, share of the roof', () => {
    assert.equal(figureOf(row, 'Lockstep'), 30);
    assert.deepEqual(ratioOf(row, 'Lockstep', 'llama.cpp'), { median: 3, least: 2, most: 3 });
    assert.equal(shareOf(row, 'Lockstep'), 0.8); // of 30/40, 20/20 and 40/50
    assert.deepEqual([figureOf(row, 'vLLM'), ratioOf(row, 'Lockstep', 'vLLM'), shareOf(row, 'vLLM')], [null, null, null]);
  });

  test('of times, less is better, and nothing is a roof', () => {
    const start: Row = { ...row, unit: 'ms', workload: 'start', roofValues: null };
    assert.deepEqual(ratioOf(start, 'Lockstep', 'llama.cpp'), { median: 1 / 3, least: 1 / 3, most: 1 / 2 });
    assert.equal(shareOf(start, 'Lockstep'), null);
  });

  test('a new run takes the place of the rows that it repeats', () => {
    const other: Row = { ...row, workload: 'prefill' };
    const fresh: Row = { ...row, commit: 'new' };
    const joined = joinResults({ ...results, rows: [row, other], versions: { vLLM: '2' } }, { ...results, rows: [fresh] }, false);
    assert.deepEqual(joined.rows, [fresh, other]);
    assert.deepEqual(joined.versions, { 'llama.cpp': '1', vLLM: '2' });
  });

  test('more rounds of the same commit and engines, and of no other', () => {
    const join = (fresh: Row) => joinResults(results, { ...results, rows: [fresh] }, true).rows[0]!;
    const joined = join({ ...row, values: { Lockstep: [1], 'llama.cpp': [2] }, roofValues: [3] });
    assert.deepEqual(joined.values, { Lockstep: [30, 20, 40, 1], 'llama.cpp': [10, 10, 16, 2] });
    assert.deepEqual([joined.roofValues, joined.roofs.length], [[40, 20, 50, 3], 2]);
    for (const change of [{ commit: 'new' }, { values: { Lockstep: [1] } }])
      assert.deepEqual(join({ ...row, ...change }), { ...row, ...change });
  });
});

describe('the roof of a workload', () => {
  const cost: ModelCost = { parameters: 0, weightBytes: 1e8, layerProducts: 4e7, headProducts: 1e7, kvBytes: 1000, attentionProducts: 0 };

  test('one stream reads the weights and its K and V at every step', () => {
    const load = { inputLen: 9, outputLen: 2, numPrompts: 1, concurrency: 1 };
    assert.equal(roofSeconds(load, cost, 'bf16', roof).decode, (1e8 + 1000 * 10) / 1e9);
  });

  test('many rows are bound by their products, at the peak of their format', () => {
    const load = { inputLen: 1000, outputLen: 2, numPrompts: 1, concurrency: 10 };
    const { prefill, decode } = roofSeconds(load, cost, 'bf16', roof);
    assert.equal(prefill, (2 * (4e7 * 10_000 + 1e7 * 10)) / 1e12);
    assert.equal(decode, (1e8 + 1000 * 10 * 1001) / 1e9);
    assert.equal(roofSeconds(load, cost, 'Q8_0', roof).prefill, prefill / 2);
    const figure = workloads.decode16.roof(load, cost, 'bf16', roof);
    assert.equal(figure, 20 / (prefill + decode));
  });

  test('the best of several probes counts', () => {
    assert.deepEqual(bestRoof([roof, { bytesPerS: 2e9, bf16PerS: 1, int8PerS: 3e12 }]), { bytesPerS: 2e9, bf16PerS: 1e12, int8PerS: 3e12 });
  });
});

describe('reports', () => {
  test('a row beside its peers', () => {
    const table = resultTables(results);
    assert.ok(table.includes('| decode, 1 stream, bf16 | 16.00 | 10.0 tok/s | 30.0 tok/s | **3.00×** (2.00–3.00) | 80 % | 32 % |'), table);
  });

  test('two ranks are beside one', () => {
    const ranks: Row = { ...row, values: { Lockstep: [100], 'Lockstep TP 2': [98] } };
    const table = resultTables({ rows: [ranks] });
    assert.ok(
      table.includes('| two ranks, of one thread each: 135M, decode, 1 stream, bf16 | 100 tok/s | 98.0 tok/s | **0.98×** (0.98–0.98) |  |'),
      table,
    );
    assert.ok(!table.includes('SmolLM2'));
  });

  test('the plot has a bar for each engine that was measured', () => {
    const plot = plotOf([row, { ...row, workload: 'start', roofValues: null }]);
    assert.equal(plot.match(/<rect class="e\d" x="\d+" y="(?!8")/g)?.length, 2);
    assert.ok(plot.includes('80 %, 30 tok/s') && plot.includes('32 %, 10 tok/s') && !plot.includes('start'));
  });

  test('the README has the figures of bench/results', () => {
    const root = new URL('../../../', import.meta.url);
    const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
    const machines = readMachines(fileURLToPath(new URL('bench/results', root)));
    assert.equal(read('README.md'), withMeasuredSpeeds(read('README.md'), machines), 'run: node scripts/readme-tables.mjs');
    for (const { results, plot } of machines) assert.equal(read(plot), plotOf(results.rows));
    assert.notEqual(read('README.md'), withMeasuredSpeeds(read('README.md'), [{ results, plot: '' }]));
    assert.throws(() => withMeasuredSpeeds('no markers', machines), /lacks its markers/);
  });
});
