/** The process, under the names that every Prometheus client library uses. Memory and file descriptors as far as /proc tells. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Registry } from './series.js';

export function addProcess(registry: Registry): void {
  const gauge = (name: string, help: string, read: () => number) => registry.gauge(`process_${name}`, help, [[{}, read]]);
  const startSeconds = Math.round(performance.timeOrigin) / 1000;
  if (process.platform === 'linux') {
    const pageKib = 1024;
    gauge('virtual_memory_bytes', 'Virtual memory size in bytes.', () => field('/proc/self/status', /VmSize:\s+(\d+)/) * pageKib);
    gauge('open_fds', 'Number of open file descriptors.', () => readdirSync('/proc/self/fd').length - 1);
    gauge('max_fds', 'Maximum number of open file descriptors.', () => field('/proc/self/limits', /Max open files\s+(\d+)/));
  }
  gauge('resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss());
  gauge('start_time_seconds', 'Start time of the process since unix epoch in seconds.', () => startSeconds);
  const cpuSeconds = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  registry.readCounter('process_cpu_seconds', 'Total user and system CPU time spent in seconds.', [[{}, cpuSeconds]], false);
}

const field = (path: string, pattern: RegExp): number => Number(pattern.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
