/** Results as Markdown: what a run prints, and the README's tables of measured speeds. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from './engines.js';
import { formats, type ModelName, models } from './models.js';
import { figureOf, type Ratio, type Results, type Row, ratioOf, shareOf } from './results.js';
import { type WorkloadName, workloads } from './workloads.js';

const figure = (value: number | null) =>
  value === null ? '' : value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1);
const times = (ratio: Ratio | null) =>
  ratio === null ? '' : `**${ratio.median.toFixed(2)}×** (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)})`;
const percent = (share: number | null) => (share === null ? '' : `${Math.round(share * 100)} %`);

const workloadNames = Object.keys(workloads) as WorkloadName[];
const orderOf = (row: Row) => workloadNames.indexOf(row.workload) * 10 + formats.indexOf(row.format);
const inOrder = (rows: readonly Row[]) => [...rows].sort((a, b) => orderOf(a) - orderOf(b));

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const text = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [text(head), text(head.map(() => '---')), ...lines.map(text)].join('\n');
}

/** Every row beside the peers that it was measured with. */
function modelTable(rows: readonly Row[]): string {
  const peers = (['llama.cpp', 'vLLM'] as const).filter((peer) => rows.some((row) => row.values[peer] !== undefined));
  const head = [
    '',
    'bits a weight',
    ...peers,
    'Lockstep',
    ...peers.map((peer) => `over ${peer}`),
    'of the roof',
    ...peers.map((peer) => `${peer}'s share`),
  ];
  const lines = inOrder(rows).map((row) => [
    `${workloads[row.workload].title}, ${row.format}`,
    row.bitsPerWeight.toFixed(2),
    ...peers.map((peer) => withUnit(row, peer)),
    withUnit(row, 'Lockstep'),
    ...peers.map((peer) => times(ratioOf(row, 'Lockstep', peer))),
    percent(shareOf(row, 'Lockstep')),
    ...peers.map((peer) => percent(shareOf(row, peer))),
  ]);
  return table(head, lines);
}

const withUnit = (row: Row, engine: Engine) => {
  const value = figureOf(row, engine);
  return value === null ? '' : `${figure(value)} ${row.unit}`;
};

/** Lockstep beside itself. */
const variants = { 'Lockstep TP 2': 'two ranks, of one thread each', 'Lockstep cold': 'nothing in the weight cache' } as const;

function variantLines(rows: readonly Row[], variant: keyof typeof variants): string[][] {
  return inOrder(rows.filter((row) => row.values[variant] !== undefined)).map((row) => [
    `${variants[variant]}: ${row.model}, ${workloads[row.workload].title}, ${row.format}`,
    withUnit(row, 'Lockstep'),
    withUnit(row, variant),
    times(ratioOf(row, variant, 'Lockstep')),
    times(ratioOf(row, variant, 'llama.cpp')),
  ]);
}

export function resultTables({ rows }: Pick<Results, 'rows'>): string {
  const parts = (Object.keys(models) as ModelName[]).map((model) => {
    const compared = rows.filter((row) => row.model === model && (row.values['llama.cpp'] !== undefined || row.values.vLLM !== undefined));
    return compared.length === 0 ? '' : `${model}: ${models[model].title}\n\n${modelTable(compared)}\n`;
  });
  const lines = (Object.keys(variants) as (keyof typeof variants)[]).flatMap((variant) => variantLines(rows, variant));
  if (lines.length > 0) {
    parts.push(`Lockstep in another way\n\n${table(['', 'as above', 'this way', 'over as above', 'over llama.cpp'], lines)}\n`);
  }
  return parts.filter((part) => part !== '').join('\n');
}

/** "41 GB/s": the least and the most that the runs' probes have found. */
function range(values: readonly number[], unit: string): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => Math.round(value / 1e9)) as [number, number];
  return `${least === most ? least : `${least}–${most}`} ${unit}`;
}

/** One machine's part of what stands in the README between the markers; `plot` is the path of its plot. */
function machineSpeeds(results: Results, plot: string): string {
  const { hardware, versions, rows } = results;
  const roofs = rows.flatMap((row) => row.roofs);
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const probed = [
    `reading ${range(
      roofs.map((roof) => roof.bytesPerS),
      'GB/s',
    )}`,
    `dot products ${range(
      roofs.map((roof) => roof.bf16PerS),
      'GFLOP/s',
    )} in bf16`,
    `${range(
      roofs.map((roof) => roof.int8PerS),
      'Gop/s',
    )} in int8`,
  ];
  const rounds = rows.map((row) => row.values.Lockstep?.length ?? 0);
  const [least, most] = [Math.min(...rounds), Math.max(...rounds)];
  return [
    `### ${hardware.cpu}\n`,
    `${hardware.cores} cores, Node ${hardware.node}, ${named.join(', ')}. Roofs probed in the same minute: ${probed.join(', ')}.`,
    `Medians of ${least === most ? least : `${least} to ${most}`} turns; in parentheses the least and the most of the turns' ratios; above 1× is better.\n`,
    `![Share of the roof that each engine reaches](${plot})\n`,
    resultTables(results),
  ].join('\n');
}

const [opening, closing] = ['<!-- measured speeds: written by scripts/readme-tables.mjs -->\n', '<!-- end of measured speeds -->'] as const;

export interface Machine {
  readonly results: Results;
  /** Path of its plot, from the README. */
  readonly plot: string;
}

/** `readme` with the tables between its two markers. Throws when they are not there. */
export function withMeasuredSpeeds(readme: string, machines: readonly Machine[]): string {
  const start = readme.indexOf(opening);
  const end = readme.indexOf(closing);
  if (start === -1 || end < start) throw new Error(`README.md lacks its markers: ${opening.trim()} … ${closing}`);
  const parts = machines.map(({ results, plot }) => machineSpeeds(results, plot));
  return `${readme.slice(0, start + opening.length)}\n${parts.join('\n')}\n${readme.slice(end)}`;
}

/** Every machine whose results lie in `folder`. */
export function readMachines(folder: string): Machine[] {
  const files = readdirSync(folder).filter((name) => /^peers-.*\.json$/.test(name));
  return files.sort().map((name) => ({
    results: JSON.parse(readFileSync(join(folder, name), 'utf8')) as Results,
    plot: `bench/results/${name.replace(/json$/, 'svg')}`,
  }));
}
