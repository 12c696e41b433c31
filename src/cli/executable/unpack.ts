/**
 * The files that the single executable carries, put where they can be used: the dynamic linker, the threads of Node and the reader of weights each
 * take a path, and none of them reads out of another file. They lie in a folder of the cache that is named by their digest. Every start compares
 * each of them with the digest that it carries and puts right what differs, so that nothing runs that was cut short or changed.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LockstepError, startError } from '../../errors.js';

export interface CarriedFile {
  /** Below the folder, with slashes. */
  readonly path: string;
  /** In bytes, and the SHA-256 of them, in hex. */
  readonly size: number;
  readonly digest: string;
  /** They are carried compressed, and wanted only where the file is not there. */
  bytes(): Uint8Array;
}

export interface Unpacked {
  readonly folder: string;
  /** Why the places before it could not be used. */
  readonly refused: readonly string[];
}

/** Name of a file that is being written; it is renamed when it is whole. */
const partial = '.partial';
/** One that nobody has written to for so long is a crash's. */
const abandonedMs = 5 * 60_000;

/**
 * Puts `files` into the folder `name` of the first of `places` that takes them; any number of processes may do so at once. Throws a start error
 * where none does, and where the folder is not this user's alone: who can write there could have this user run anything.
 */
export function unpack(files: readonly CarriedFile[], name: string, places: readonly string[]): Unpacked {
  const refused: string[] = [];
  for (const place of places) {
    const folder = join(place, name);
    try {
      openFolder(folder);
      for (const file of files) complete(join(folder, file.path), file);
      return { folder, refused };
    } catch (error) {
      if (error instanceof LockstepError) throw error;
      refused.push((error as Error).message);
    }
  }
  const megabytes = Math.ceil(files.reduce((sum, { size }) => sum + size, 0) / 1e6);
  throw startError(
    `the ${megabytes} MB of files that this executable carries cannot be put anywhere: ${refused.join('; ')}; ` +
      'LOCKSTEP_CACHE names a folder that can be written and has room',
  );
}

function openFolder(folder: string): void {
  makeFolder(folder);
  const problem = problemOf(folder);
  if (problem !== null) throw startError(`${folder} ${problem}: remove it, or let LOCKSTEP_CACHE name another folder`);
}

/** With those above it. Node's own way of that calls a read-only disk a folder that is not there. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** null: a folder that nobody else can write to. */
function problemOf(folder: string): string | null {
  const found = lstatSync(folder); // a link would lead to a folder that was not looked at
  const { uid, mode } = found;
  if (!found.isDirectory()) return 'is no folder';
  if (uid !== process.geteuid?.()) return `belongs to another user (uid ${uid})`;
  return mode & 0o077 ? `is open to other users (mode ${(mode & 0o777).toString(8)})` : null;
}

function complete(path: string, file: CarriedFile): void {
  if (holds(path, file)) return;
  const folder = dirname(path);
  makeFolder(folder);
  removeAbandoned(folder);
  const temporary = `${path}.${randomUUID()}${partial}`; // processes of two containers may have one id
  try {
    writeFileSync(temporary, file.bytes(), { flag: 'wx', mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function holds(path: string, { size, digest }: CarriedFile): boolean {
  try {
    const found = lstatSync(path);
    return found.isFile() && found.size === size && createHash('sha256').update(readFileSync(path)).digest('hex') === digest;
  } catch {
    return false;
  }
}

function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!name.endsWith(partial)) continue;
    const writtenMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (Date.now() - writtenMs > abandonedMs) rmSync(path, { force: true });
  }
}
