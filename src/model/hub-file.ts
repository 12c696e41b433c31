/** One file of a hub repository into the cache: resumed, checked, and only then given its name. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { copyFile, open } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startError } from '../errors.js';
import type { Logger } from '../log.js';
import { withLock } from './hub-lock.js';
import type { DownloadProgress } from './hub-progress.js';

export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** Name of its blob: sha256 of a large file, git's object id of a small one. */
  readonly blob: string;
  /** Known for large files. */
  readonly sha256: string | null;
}

export interface HubTarget {
  readonly repo: string;
  readonly commit: string;
  /** Of the repository in the cache. */
  readonly folder: string;
  readonly snapshot: string;
  readonly hubUrl: string;
  readonly accessToken?: string;
  readonly xet: boolean;
  readonly log: Logger;
}

const attemptsMax = 5;
const firstDelayMs = 500;
/** A connection that brings nothing for so long is given up and taken up again. */
const idleTimeoutMs = 30_000;

export async function fetchFile(file: HubFile, target: HubTarget, progress: DownloadProgress): Promise<void> {
  // Paths come from the network and are joined to a folder of ours.
  if (isAbsolute(file.path) || normalize(file.path).startsWith('..'))
    throw startError(`${target.repo}: the file name ${file.path} leaves the folder`);
  if (!/^[0-9a-zA-Z]+$/.test(file.blob)) throw startError(`${target.repo}: ${file.path} has no object id`);
  const blob = join(target.folder, 'blobs', file.blob);
  mkdirSync(dirname(blob), { recursive: true });
  const waits = () => target.log.info(`${target.repo}: another process downloads ${file.path}; waiting for it`);
  await withLock(`${blob}.lock`, waits, async () => {
    if (existsSync(blob)) progress.add(file.size);
    else await fetchBlob(file, blob, target, progress);
  });
  await link(blob, join(target.snapshot, file.path));
}

async function fetchBlob(file: HubFile, blob: string, target: HubTarget, progress: DownloadProgress): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  let counted = 0;
  for (let attempt = 1; ; attempt++) {
    const have = statSync(incomplete, { throwIfNoEntry: false })?.size ?? 0;
    progress.add(Math.min(have, file.size) - counted);
    counted = Math.min(have, file.size);
    try {
      await fetchRest(file, incomplete, have, target, (bytes) => {
        progress.add(bytes);
        counted += bytes;
      });
      break;
    } catch (error) {
      const status = (error as { statusCode?: number }).statusCode ?? 0;
      const final = (status >= 400 && status < 500 && status !== 408 && status !== 429) || (error as { code?: string }).code === 'start';
      if (final || attempt === attemptsMax) throw error;
      target.log.debug(`${target.repo}: ${file.path} broke off (${(error as Error).message}); attempt ${attempt + 1}`);
      await sleep(firstDelayMs * 2 ** (attempt - 1));
    }
  }
  renameSync(incomplete, blob);
}

/** Appends what is missing and checks the whole. A file that comes out wrong is removed. */
async function fetchRest(file: HubFile, incomplete: string, have: number, target: HubTarget, add: (bytes: number) => void): Promise<void> {
  const hash = createHash('sha256');
  if (have > 0 && file.sha256) await hashFile(incomplete, hash);
  let size = have;
  if (size < file.size) {
    const { downloadFile } = await import('@huggingface/hub');
    const { repo, commit: revision, hubUrl, xet } = target;
    const credentials = target.accessToken === undefined ? {} : { accessToken: target.accessToken };
    const whole = await downloadFile({ repo, path: file.path, revision, hubUrl, xet, ...credentials });
    if (!whole) throw startError(`${repo}: ${file.path} is listed, but not there`);
    const out = await open(incomplete, 'a');
    try {
      for await (const chunk of chunks((have > 0 ? whole.slice(have) : whole).stream())) {
        await out.write(chunk);
        hash.update(chunk);
        size += chunk.byteLength;
        add(chunk.byteLength);
        if (size > file.size) break;
      }
    } finally {
      await out.close();
    }
  }
  if (size < file.size) throw new Error(`only ${size} of ${file.size} bytes came`);
  if (size === file.size && (file.sha256 === null || hash.digest('hex') === file.sha256)) return;
  rmSync(incomplete);
  throw new Error(`${file.path} came out damaged`);
}

async function hashFile(path: string, hash: Hash): Promise<void> {
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
}

/** Chunks of a stream, with a limit on how long one may take. */
async function* chunks(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const timer = new AbortController();
      const idle = sleep(idleTimeoutMs, null, { signal: timer.signal, ref: false }).catch(() => null);
      const next = await Promise.race([reader.read(), idle]);
      timer.abort();
      if (next === null) throw new Error(`nothing came for ${idleTimeoutMs / 1000} s`);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** snapshots/COMMIT/PATH -> blobs/ID, relative, so that the cache can be moved; a copy where links are not allowed. */
async function link(blob: string, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  try {
    symlinkSync(relative(dirname(path), blob), path);
  } catch {
    await copyFile(blob, path);
  }
}
