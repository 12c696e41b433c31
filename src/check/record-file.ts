/** The file of a record: a line of JSON an exchange. A line is there whole or not at all, and what another program left is not glued to it. */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { startError } from '../errors.js';

const newline = 10;
/** Texts of people: for the user's eyes alone. */
const fileMode = 0o600;

export class RecordFile {
  private readonly fd: number;

  /** Goes on where the file ends. Throws LockstepError `start` where it cannot be written. */
  constructor(private readonly path: string) {
    this.fd = open(path);
    if (!endsLine(this.fd)) writeSync(this.fd, '\n'); // the end of a line that was cut
  }

  /** Throws where there is no room; then nothing of the line is in the file. */
  append(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    const { size } = fstatSync(this.fd);
    try {
      // A whole line in one call: a signal that ends the process comes before or after it.
      for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done);
    } catch (error) {
      ftruncateSync(this.fd, size);
      throw new Error(`${this.path}: ${(error as Error).message}`, { cause: error });
    }
  }

  close(): void {
    fsyncSync(this.fd);
    closeSync(this.fd);
  }
}

function open(path: string): number {
  try {
    const fd = openSync(path, 'a+', fileMode);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
  } catch (error) {
    throw startError(`--out ${path}: ${(error as Error).message}`, { param: 'out', cause: error });
  }
  throw startError(`--out ${path} is no file`, { param: 'out' });
}

function endsLine(fd: number): boolean {
  const { size } = fstatSync(fd);
  const last = Buffer.alloc(1);
  return size === 0 || (readSync(fd, last, 0, 1, size - 1) === 1 && last[0] === newline);
}
