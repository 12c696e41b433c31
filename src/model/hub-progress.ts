/** How far a download is: a bar on a terminal, else a log record now and then. */
import type { Logger } from '../log.js';
import { formatBytes } from './checkpoint.js';

/** stderr, or what a test gives in its place. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const barIntervalMs = 100;
const logIntervalMs = 10_000;
const barWidth = 30;

export class DownloadProgress {
  private bytes = 0;
  private shownAt = 0;
  private readonly startedAt: number;

  constructor(
    private readonly name: string,
    private readonly total: number,
    private readonly out: ProgressOutput,
    private readonly log: Logger,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.startedAt = this.now();
    this.shownAt = this.startedAt;
    if (!out.isTTY) log.info(`downloading ${name}: ${formatBytes(total)}`);
  }

  add(bytes: number): void {
    this.bytes += bytes;
    const now = this.now();
    if (now - this.shownAt < (this.out.isTTY ? barIntervalMs : logIntervalMs)) return;
    this.shownAt = now;
    if (this.out.isTTY) this.out.write(`\r${this.line(now)}`);
    else this.log.info(`downloading ${this.name}: ${this.percent()}% of ${formatBytes(this.total)}`);
  }

  /** Leaves the last state on the terminal. */
  end(): void {
    if (this.out.isTTY) this.out.write(`\r${this.line(this.now())}\n`);
    else this.log.info(`downloaded ${formatBytes(this.bytes)} of ${this.name}`);
  }

  private percent(): number {
    return this.total === 0 ? 100 : Math.min(100, Math.floor((100 * this.bytes) / this.total));
  }

  private line(now: number): string {
    const full = Math.round((barWidth * this.percent()) / 100);
    const rate = this.bytes / Math.max((now - this.startedAt) / 1000, 0.001);
    const text = `${this.name} [${'='.repeat(full)}${' '.repeat(barWidth - full)}] ${this.percent()}% ${formatBytes(this.bytes)} of ${formatBytes(this.total)}, ${formatBytes(Math.round(rate))}/s`;
    const columns = this.out.columns ?? 120;
    return text.length < columns ? text.padEnd(columns - 1) : text.slice(0, columns - 1);
  }
}
