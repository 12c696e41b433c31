/** A file that is read in places, and closed again whatever happens. */
import { closeSync, openSync } from 'node:fs';
import { startError } from '../errors.js';

/** Throws a start error where it cannot be opened, or what `read` throws. */
export function withOpenFile<T>(path: string, read: (fd: number) => T): T {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw startError(`${path} cannot be opened: ${(cause as Error).message}`, { cause });
  }
  try {
    return read(fd);
  } finally {
    closeSync(fd);
  }
}
