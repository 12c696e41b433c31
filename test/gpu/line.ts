/** What the parts of scripts/gpu-check say: a line of JSON each, as it comes, so that what a part had found is there when it is cut off. */

/** One thing that is right or wrong. */
export interface CheckLine {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** One measured number. */
export interface FigureLine {
  /** The same in scripts/gpu-check-torch.py where it measures the same. */
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
  /** The bound that `value` is read beside, in the same unit; null: there is none. */
  readonly bound: number | null;
}

export type Line = CheckLine | FigureLine;

export const say = (line: Line): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};

/** Says whether `body` threw. */
export async function check(name: string, body: () => Promise<string>): Promise<void> {
  try {
    say({ check: name, ok: true, detail: await body() });
  } catch (error) {
    say({ check: name, ok: false, detail: error instanceof Error ? error.message.slice(0, 2000) : String(error) });
  }
}

interface NativeCheck {
  readonly check: string;
  readonly expectations: number;
  readonly failures: number;
  readonly worst: number;
}
interface NativeProbe {
  readonly probe: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
}

/** A line of a part, or of the native program; null: it is none. */
export function readLine(text: string): Line | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  if ('expectations' in value) {
    const { check, expectations, failures, worst } = value as NativeCheck;
    const used = worst > 0 ? `, at most ${(100 * worst).toFixed(0)} % of a tolerance` : '';
    const detail = failures > 0 ? `${failures} of ${expectations} expectations failed${used}` : `${expectations} expectations${used}`;
    return { check, ok: failures === 0 && expectations > 0, detail };
  }
  if ('probe' in value) {
    const { probe, value: measured, unit, note } = value as NativeProbe;
    return { figure: probe, value: measured, unit, note, bound: null };
  }
  return 'check' in value || 'figure' in value ? (value as Line) : null;
}
