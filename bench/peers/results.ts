/** The measured rows: what one holds, how runs are joined into one file, and what is made of them for a reader. Pure. */
import { medianOf } from '../figures.js';
import type { Engine } from './engines.js';
import type { Format, ModelName } from './models.js';
import type { Roof } from './roof.js';
import type { Unit, WorkloadName } from './workloads.js';

export interface Row {
  readonly model: ModelName;
  readonly format: Format;
  readonly workload: WorkloadName;
  readonly unit: Unit;
  /** Of the file that all engines read. */
  readonly bitsPerWeight: number;
  /** One value a round, in the order of the rounds. */
  readonly values: Readonly<Partial<Record<Engine, readonly number[]>>>;
  /** Most that anybody else had of the cores while a value was taken, 0 … 1. */
  readonly othersShare: number;
  /** Probed in each round. */
  readonly roofs: readonly Roof[];
  /** The figures that the machine allowed, one a round; null: nothing bounds them but the program. */
  readonly roofValues: readonly number[] | null;
  readonly date: string;
  readonly commit: string;
}

export interface Results {
  readonly hardware: { readonly cpu: string; readonly cores: number; readonly memoryGB: number; readonly node: string };
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
}

/** One file for each kind of processor, named by what it says of itself. */
export const resultFileOf = (cpu: string) =>
  `peers-${cpu
    .toLowerCase()
    .replace(/\((r|tm)\)|@.*/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')}.json`;

const keyOf = (row: Row) => `${row.model} ${row.format} ${row.workload}`;

/** The rounds of both, which have the same engines. */
function moreRounds(old: Row, fresh: Row): Row {
  const names = Object.keys(fresh.values) as Engine[];
  const values = Object.fromEntries(names.map((name) => [name, [...(old.values[name] ?? []), ...(fresh.values[name] ?? [])]]));
  const roofValues = fresh.roofValues === null ? null : [...(old.roofValues ?? []), ...fresh.roofValues];
  const othersShare = Math.max(old.othersShare, fresh.othersShare);
  return { ...fresh, values, othersShare, roofs: [...old.roofs, ...fresh.roofs], roofValues };
}

const enginesOf = (row: Row) => Object.keys(row.values).sort().join();

/**
 * Rows of a new run take the place of those they repeat. With `add` they are more rounds of a row that has the same commit and the same
 * engines: ratios are of values taken in one round always.
 */
export function joinResults(old: Results | null, fresh: Results, add: boolean): Results {
  const before = new Map((old?.rows ?? []).map((row) => [keyOf(row), row]));
  const rows = fresh.rows.map((row) => {
    const known = before.get(keyOf(row));
    return add && known?.commit === row.commit && enginesOf(known) === enginesOf(row) ? moreRounds(known, row) : row;
  });
  for (const row of rows) before.set(keyOf(row), row);
  return { ...fresh, versions: { ...old?.versions, ...fresh.versions }, rows: [...before.values()] };
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
  const better = (a: number, b: number) => (row.unit === 'tok/s' ? a / b : b / a);
  const ratios = ours.slice(0, theirs.length).map((value, round) => better(value, theirs[round]!));
  if (ratios.length === 0) return null;
  return { median: better(medianOf(ours), medianOf(theirs)), least: Math.min(...ratios), most: Math.max(...ratios) };
}

/** The median of the rounds' shares, 0 … 1, and above where the probe of the roof was disturbed. */
export function shareOf(row: Row, engine: Engine): number | null {
  const { roofValues } = row;
  const values = row.values[engine] ?? [];
  return values.length === 0 || roofValues === null ? null : medianOf(values.map((value, round) => value / roofValues[round]!));
}
