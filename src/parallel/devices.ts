/** What this machine offers the CPU backend: free memory, and how the cores are dealt to ranks. */
import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { loadAddon } from '../addon/load.js';

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
};

/** Bytes that can be taken without swapping: what the kernel calls available, or less where a cgroup allows less. */
export function availableMemoryBytes(): number {
  const kilobytes = /MemAvailable:\s+(\d+) kB/.exec(read('/proc/meminfo') ?? '')?.[1];
  const free = kilobytes === undefined ? freemem() : Number(kilobytes) * 1024;
  const limit = memoryLimit();
  const used = Number(read('/sys/fs/cgroup/memory.current') ?? read('/sys/fs/cgroup/memory/memory.usage_in_bytes'));
  return limit === null ? free : Math.min(free, Math.max(0, limit - used));
}

/** What this machine has, or what a cgroup allows. */
export const totalMemoryBytes = (): number => Math.min(totalmem(), memoryLimit() ?? Number.POSITIVE_INFINITY);

/** Of the cgroup; null: none. "max" is no number, and version 1 writes "no limit" as a number beyond any memory. */
function memoryLimit(): number | null {
  const limit = Number(read('/sys/fs/cgroup/memory.max') ?? read('/sys/fs/cgroup/memory/memory.limit_in_bytes'));
  return Number.isFinite(limit) && limit > 0 ? limit : null;
}

/** Cores that affinity and cgroup quota leave to this process. */
export const usableCores = (): number => loadAddon().info().cores;

/** Compute threads of each rank: never more than one in all for each core that affinity and cgroup quota leave, and at least one. */
export function threadsPerRank(wanted: number | null, worldSize: number): number {
  return wanted ?? Math.max(1, Math.floor(usableCores() / worldSize));
}
