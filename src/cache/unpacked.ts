/** What single executables have unpacked: a folder each in the cache. One stays while a process runs from it: its threads are yet to be read there. */
import { lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export const unpackedEnding = '.lockstep-executable';

/** Removes those in `folder` that no process of this user has mapped; the number of bytes that were freed. */
export function removeUnpacked(folder: string): number {
  const names = namesIn(folder).filter((name) => name.endsWith(unpackedEnding));
  if (names.length === 0) return 0;
  const mapped = namesIn('/proc').map((process) => textOf(`/proc/${process}/maps`));
  let bytes = 0;
  for (const name of names) {
    if (mapped.some((maps) => maps.includes(`/${name}/`))) continue;
    bytes += bytesBelow(join(folder, name));
    rmSync(join(folder, name), { recursive: true, force: true });
  }
  return bytes;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** '' of what is no process, has ended, or is another user's, who can have nothing of this one's folder. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function bytesBelow(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.reduce((sum, entry) => sum + lstatSync(join(entry.parentPath, entry.name)).size, 0);
}
