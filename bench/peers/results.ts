/** The measured rows: what one holds, how runs are joined into one file, and what is made of them for a reader. Pure. */
import { medianOf } from '../figures.js';
import type { Engine } from './engines.js';
import type { Format, ModelName } from './models.js';
import type { Roof } from './roof.js';
import type { WorkloadName } from './workloads.js';

export interface Row {
  readonly model: ModelName;
  readonly format: Format;
  readonly workload: WorkloadName;
  readonly unit: 'tok/s' | 'ms';
  /** Of the file that all engines read. */
  readonly bitsPerWeight: number;
  /** One value a round, in the order of the rounds. */
  readonly values: Readonly<Partial<Record<Engine, readonly number[]>>>;
  /** Most that anybody else had of the cores while a value was taken, 0 … 1. */
  readonly othersShare: number;
  readonly roof: Roof;
  /** The figure that the machine allows; null: nothing bounds it but the program. */
  readonly roofValue: number | null;
  readonly date: string;
  readonly commit: string;
}

export interface Results {
  readonly hardware: { readonly cpu: string; readonly cores: number; readonly memoryGB: number; readonly node: string };
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
}

const keyOf = (row: Row) => `${row.model} ${row.format} ${row.workload}`;

/** Rows of a new run take the place of those they repeat: ratios are of one run always. */
export function joinResults(old: Results | null, fresh: Results): Results {
  const replaced = new Set(fresh.rows.map(keyOf));
  const kept = (old?.rows ?? []).filter((row) => !replaced.has(keyOf(row)));
  return { ...fresh, versions: { ...old?.versions, ...fresh.versions }, rows: [...kept, ...fresh.rows] };
}

export const figureOf = (row: Row, engine: Engine): number | null => {
  const values = row.values[engine];
  return values === undefined || values.length === 0 ? null : medianOf(values);
};

/** How many times better than the other, above 1: better; with the least and the most of the rounds, each of which compares neighbours. */
export interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function ratioOf(row: Row, engine: Engine, other: Engine): Ratio | null {
  const [ours, theirs] = [row.values[engine] ?? [], row.values[other] ?? []];
  const better = (a: number, b: number) => (row.unit === 'ms' ? b / a : a / b);
  const ratios = ours.slice(0, theirs.length).map((value, round) => better(value, theirs[round]!));
  if (ratios.length === 0) return null;
  return { median: better(medianOf(ours), medianOf(theirs)), least: Math.min(...ratios), most: Math.max(...ratios) };
}

/** 0 … 1, and above where the probe of the roof was disturbed. */
export function shareOf(row: Row, engine: Engine): number | null {
  const value = figureOf(row, engine);
  return value === null || row.roofValue === null ? null : value / row.roofValue;
}
