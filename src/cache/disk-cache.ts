/**
 * Files that are kept between starts because making them takes longer than reading them: packed weights, parsed tokenizers. An entry's name is
 * a digest of everything that decides its bytes, so that an entry is never wrong, only missing; those not used for longest go first.
 * Nothing here can keep a server from starting: what cannot be stored is said once, and the start goes on without.
 */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, statfsSync, statSync, utimesSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../log.js';
import { removeUnpacked, unpackedEnding } from './unpacked.js';

/** Plain data, for other threads. */
export interface CachePlace {
  readonly folder: string;
  /** All entries together. */
  readonly bytesMax: number;
}

export interface DiskCacheOptions extends CachePlace {
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

export interface CacheEntry {
  readonly path: string;
  readonly bytes: number;
  readonly usedMs: number;
}

/** A file that is being written is renamed when it is whole. One that nobody has written to for so long is a crash's. */
const partial = '.partial';
const abandonedMs = 5 * 60_000;
/** An entry may take so much of what is free on the disk. */
const freeShareMax = 0.5;
/** Being written by this process: in a container the next process may have the id of the one that crashed. */
const ours = new Set<string>();

/** Where entries lie: LOCKSTEP_CACHE, else lockstep/ in XDG_CACHE_HOME or ~/.cache. null: there is no home. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string | null {
  const { LOCKSTEP_CACHE: own, XDG_CACHE_HOME: caches, HOME: home } = environment;
  if (own) return own;
  if (caches) return join(caches, 'lockstep');
  return home ? join(home, '.cache', 'lockstep') : null;
}

/** Entries, those not used for longest first. Empty where there is no folder. */
export function cacheEntries(folder: string): CacheEntry[] {
  const entries = namesIn(folder).flatMap((name) => {
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() && !name.endsWith(partial) ? [{ path, bytes: found.size, usedMs: found.mtimeMs }] : [];
  });
  return entries.sort((a, b) => a.usedMs - b.usedMs);
}

/** Removes every entry; the number of bytes that were freed. */
export function clearCache(folder: string): number {
  const entries = cacheEntries(folder);
  for (const name of namesIn(folder)) if (!name.endsWith(unpackedEnding)) rmSync(join(folder, name), { force: true });
  return entries.reduce((sum, { bytes }) => sum + bytes, removeUnpacked(folder));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.includes('.lockstep-'));
  } catch {
    return [];
  }
}

export class DiskCache {
  readonly #options: DiskCacheOptions;
  #warned = false;

  constructor(options: DiskCacheOptions) {
    this.#options = options;
  }

  get place(): CachePlace {
    const { folder, bytesMax } = this.#options;
    return { folder, bytesMax };
  }

  /** Where the entry of this digest lies, or would. */
  pathOf(kind: 'weights' | 'tokenizer', digest: string): string {
    return join(this.#options.folder, `${digest}.lockstep-${kind}`);
  }

  /** The entry was of use: it goes later. */
  used(path: string): void {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {
      // Another's, or a read-only disk: then order of use is lost, and nothing else.
    }
  }

  /** The entry is not what was written: it is removed, and made anew by the start that found it. */
  damaged(path: string, problem: string): void {
    this.#options.logger.warn(`the cache's ${path} is damaged (${problem}): it is made anew`);
    remove(path);
  }

  /**
   * Stores an entry of `bytes` bytes, which `write` puts into a new file; it gets its name when it is whole and on the disk. Left out where it
   * does not fit, or where another start is writing it. Never rejects.
   */
  async store(path: string, bytes: number, write: (temporary: string) => void | Promise<void>): Promise<void> {
    let temporary: string | null = null;
    try {
      mkdirSync(this.#options.folder, { recursive: true });
      this.#removeAbandoned();
      if (!this.#makeRoom(path, bytes) || this.#isBeingWritten(path)) return;
      temporary = `${path}.${process.pid}${partial}`;
      ours.add(temporary);
      await write(temporary);
      renameSync(temporary, path);
    } catch (error) {
      if (temporary !== null) remove(temporary);
      if (!this.#warned) this.#options.logger.warn(`nothing is kept for the next start: ${(error as Error).message} (${path})`);
      this.#warned = true;
    } finally {
      if (temporary !== null) ours.delete(temporary);
    }
  }

  /** As `store`, for bytes that are at hand. */
  storeBytes(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    return this.store(path, bytes, (temporary) => {
      const file = openSync(temporary, 'wx');
      try {
        for (const part of parts) for (let done = 0; done < part.length; ) done += writeSync(file, part, done);
      } finally {
        closeSync(file);
      }
    });
  }

  /** Removes old entries until one of `bytes` bytes fits. false: it never will, or the disk is nearly full. */
  #makeRoom(path: string, bytes: number): boolean {
    const { folder, bytesMax } = this.#options;
    const { bavail, bsize } = statfsSync(folder);
    if (bytes > bytesMax || bytes > bavail * bsize * freeShareMax) {
      this.#options.logger.info(`${Math.ceil(bytes / 2 ** 20)} MiB for the next start are not kept: the cache or the disk is too small`);
      return false;
    }
    const others = cacheEntries(folder).filter((entry) => entry.path !== path);
    let total = others.reduce((sum, entry) => sum + entry.bytes, bytes);
    for (const entry of others) {
      if (total <= bytesMax) break;
      rmSync(entry.path, { force: true });
      total -= entry.bytes;
    }
    return true;
  }

  #partials(): string[] {
    return namesIn(this.#options.folder).filter((name) => name.endsWith(partial));
  }

  #isBeingWritten(path: string): boolean {
    return this.#partials().some((name) => path.endsWith(name.slice(0, name.lastIndexOf('.', name.length - partial.length - 1))));
  }

  /** What a crash left half-written. */
  #removeAbandoned(): void {
    for (const name of this.#partials()) {
      const path = join(this.#options.folder, name);
      const writer = Number(name.split('.').at(-2));
      const writtenMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      if (!(writer === process.pid ? ours.has(path) : isAlive(writer)) || Date.now() - writtenMs > abandonedMs)
        rmSync(path, { force: true });
    }
  }
}

/** Where the folder is read-only the file stays, and is found damaged again. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {}
}

/** Whether a process of this machine has the id. */
function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
