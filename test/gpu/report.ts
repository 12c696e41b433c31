/** The report of scripts/gpu-check, as JSON and as a page of Markdown. */
import type { FigureLine } from './line.js';
import { failuresOf, type PartResult } from './parts.js';

export interface Machine {
  readonly device: string;
  readonly capability: string;
  readonly multiprocessors: number;
  readonly memoryBytes: number;
  /** What nvidia-smi says of clocks, power and temperature before and behind the figures; null: it is not there. */
  readonly clocks: { readonly before: string | null; readonly after: string | null };
  /** By name: driver, CUDA, cuBLASLt, NCCL, Node, Lockstep, … */
  readonly versions: Readonly<Record<string, string>>;
}

export interface Report {
  readonly passed: boolean;
  /** Devices of host memory, over which speed says nothing: no figure has a value. */
  readonly emulated: boolean;
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: Machine;
  readonly failures: readonly string[];
  readonly parts: readonly PartResult[];
  readonly figures: readonly Figure[];
}

export interface Figure {
  readonly figure: string;
  /** null: none, since the device is emulated. */
  readonly value: number | null;
  readonly unit: string;
  readonly note: string;
  readonly bound: number | null;
  /** Of the bound. */
  readonly share: number | null;
  /** The same of scripts/gpu-check-torch.py; null: it was not given. */
  readonly torch: number | null;
  readonly wanted: string;
  readonly isReached: boolean | null;
}

/** What is wanted on an H200 or H100: a share of the bound, or of the value itself. */
interface Want {
  readonly figure: RegExp;
  readonly shareMin?: number;
  readonly valueMin?: number;
  readonly valueMax?: number;
  /** Of the steps a second of one row. */
  readonly stepRateMin?: number;
}
const wants: readonly Want[] = [
  { figure: /^8B: decode, 1 row/, shareMin: 0.85, valueMin: 243 },
  { figure: /^7B: decode, 1 row/, shareMin: 0.85 },
  { figure: /^0.5B: decode, 1 row/, valueMin: 2200 },
  { figure: /^135M: decode, 1 row/, valueMin: 3000 },
  { figure: /: decode, 32 rows/, stepRateMin: 0.75 },
  { figure: /^[87]B: prefill/, shareMin: 0.6 },
  { figure: /: host gap/, valueMax: 15 },
];

export type TorchFigures = Readonly<Record<string, number>>;

export function makeReport(
  parts: readonly PartResult[],
  machine: Machine,
  { emulated, startedAt, seconds, torch }: { emulated: boolean; startedAt: string; seconds: number; torch: TorchFigures },
): Report {
  const lines = parts.flatMap((part) => part.lines.filter((line): line is FigureLine => 'figure' in line));
  const figures = lines.map((line) => figureOf(line, lines, torch, emulated));
  const failures = parts.flatMap(failuresOf);
  return { passed: failures.length === 0, emulated, startedAt, seconds, machine, failures, parts, figures };
}

function figureOf(line: FigureLine, all: readonly FigureLine[], torch: TorchFigures, emulated: boolean): Figure {
  const { figure, unit, value, bound } = line;
  if (emulated)
    return { figure, unit, value: null, note: 'none: emulated', bound: null, share: null, torch: null, wanted: '', isReached: null };
  const share = bound ? value / bound : null;
  const want = wants.find((row) => row.figure.test(figure));
  const oneRow = all.find((other) => other.figure.startsWith(figure.replace(/:.*/, ': decode, 1 row')));
  const stepRate = oneRow === undefined ? null : value / 32 / oneRow.value;
  const beside = torch[figure] ?? null;
  const tests = [
    test(want?.shareMin, share, (limit) => `${(100 * limit).toFixed(0)} % of the bound`),
    test(want?.valueMin, value, (limit) => `${limit} ${unit}`),
    test(want?.stepRateMin, stepRate, (limit) => `${(100 * limit).toFixed(0)} % of the step rate of one row`),
    want?.valueMax === undefined ? null : { text: `at most ${want.valueMax} ${unit}`, ok: value <= want.valueMax },
    beside === null || unit !== 'tok/s' ? null : { text: 'more than torch', ok: value > beside },
  ].filter((row) => row !== null);
  const isReached = tests.length === 0 ? null : tests.every(({ ok }) => ok);
  return { ...line, share, torch: beside, wanted: tests.map(({ text }) => text).join(', '), isReached };
}

function test(limit: number | undefined, value: number | null, text: (limit: number) => string): { text: string; ok: boolean } | null {
  return limit === undefined ? null : { text: text(limit), ok: value !== null && value >= limit };
}

const number = (value: number) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
const table = (heads: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(heads), row(heads.map(() => '---')), ...rows.map(row)].join('\n');

export function toMarkdown(report: Report): string {
  const { machine, parts } = report;
  const emulated = report.emulated ? ' on an emulated device' : '';
  const gib = (machine.memoryBytes / 2 ** 30).toFixed(0);
  const clocks = Object.entries(machine.clocks).map(([when, text]) => `Clocks ${when}: ${text ?? 'nvidia-smi is not there'}`);
  const checks = parts.flatMap((part) =>
    part.lines.flatMap((line) => ('check' in line ? [[part.name, line.check, line.ok ? 'ok' : 'FAILED', line.detail]] : [])),
  );
  const figures = report.figures.map(({ figure, value, unit, bound, share, torch, wanted, isReached, note }) => [
    figure,
    value === null ? 'none' : `${number(value)} ${unit}`,
    bound === null ? '' : number(bound),
    share === null ? '' : `${(100 * share).toFixed(0)} %`,
    torch === null ? '' : number(torch),
    wanted === '' ? '' : `${wanted}: ${isReached ? 'yes' : 'no'}`,
    note,
  ]);
  const logs = parts.filter(({ log }) => log !== '').map(({ name, log }) => `## What '${name}' said\n\n\`\`\`\n${log.trim()}\n\`\`\``);
  return `${[
    `# gpu-check ${report.passed ? 'passed' : 'FAILED'}${emulated}`,
    `${report.startedAt}, ${report.seconds.toFixed(0)} s. ${machine.device}, compute capability ${machine.capability}, ${machine.multiprocessors} multiprocessors, ${gib} GiB.`,
    Object.entries(machine.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    clocks.join('\n\n'),
    ...(report.failures.length === 0
      ? []
      : [`## Failures\n\n${report.failures.map((line) => `- ${line.replaceAll('\n', ' ')}`).join('\n')}`]),
    `## Parts\n\n${table(
      ['part', 'end', 'seconds'],
      parts.map(({ name, status, seconds }) => [name, status, seconds.toFixed(1)]),
    )}`,
    `## Checks\n\n${table(['part', 'check', '', ''], checks)}`,
    report.figures.length === 0
      ? 'Nothing was measured.'
      : `## Figures\n\n${table(['figure', 'measured', 'bound', 'share', 'torch', 'wanted', 'how'], figures)}`,
    ...logs,
  ].join('\n\n')}\n`;
}
