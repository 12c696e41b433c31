/** Which share of the cores went to anybody else during a measurement, by the kernel's own count. Linux. */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** CPU time is counted in ticks of 10 ms. */
export const ticksPerS = 100;

/** Ticks of all cores that were not idle, those taken by other machines on the same host included. */
function busyTicks(): number {
  // cpu user nice system idle iowait irq softirq steal …
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.split(/\s+/).slice(1, 9).map(Number);
  return ticks.reduce((sum, value) => sum + value, 0) - ticks[3]! - ticks[4]!;
}

/** A process's group, and the ticks that it has had. Throws when it has ended. */
export function statOf(pid: number | string): { readonly group: number; readonly ticks: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' '); // a name may have spaces
  return { group: Number(fields[2]), ticks: Number(fields[11]) + Number(fields[12]) };
}

/** Ticks of all processes in the groups that `leaders` lead. */
function ticksOfGroups(leaders: readonly number[]): number {
  let sum = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const { group, ticks } = statOf(pid);
      if (leaders.includes(group)) sum += ticks;
    } catch {
      // It has ended meanwhile.
    }
  }
  return sum;
}

/**
 * Begins to count; the result gives, when it is called, the share of the cores' time since then that neither this process nor the groups of
 * `leaders` had, nor those of `born`, which have come since.
 */
export function watchOthers(leaders: readonly number[]): (born?: readonly number[]) => number {
  const own = () => {
    const { user, system } = process.cpuUsage();
    return ((user + system) / 1e6) * ticksPerS;
  };
  const others = (groups: readonly number[]) => busyTicks() - ticksOfGroups(groups) - own();
  const before = others(leaders);
  const startMs = performance.now();
  return (born = []) =>
    Math.max(0, (others([...leaders, ...born]) - before) / (((performance.now() - startMs) / 1000) * ticksPerS * cpus().length));
}
