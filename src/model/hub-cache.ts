/** The models that lie in the cache of the Hugging Face hub, whoever has downloaded them: looking at them, and removing one. */
import { lstatSync, readdirSync, readFileSync, rmSync, type Stats, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { startError } from '../errors.js';
import { isHeld } from './hub-lock.js';

type Environment = Readonly<Record<string, string | undefined>>;

export const hubHome = (env: Environment) => env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
export const hubCache = (env: Environment) => env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome(env), 'hub');

/** Blobs, refs and snapshots of one repository. */
export const repoFolder = (cache: string, repo: string) => join(cache, `models--${repo.replace('/', '--')}`);

export interface CachedModel {
  readonly repo: string;
  /** On the disk, with what is not whole. */
  readonly bytes: number;
  /** Branches, tags and commits by which it was asked for. */
  readonly revisions: readonly string[];
  /** A download has begun and not ended. */
  readonly isPartial: boolean;
  /** Of the last change, ms since 1970. */
  readonly changedMs: number;
}

/** By name. None where there is no such folder. */
export function cachedModels(cache: string): CachedModel[] {
  const folders = entriesOf(cache).filter((name) => name.startsWith('models--'));
  const models = folders.map((name) => describe(name.slice('models--'.length).replace('--', '/'), join(cache, name)));
  return models.sort((a, b) => a.repo.localeCompare(b.repo));
}

function describe(repo: string, folder: string): CachedModel {
  // Snapshots are links to blobs; where links cannot be made they are the files.
  const paths = ['blobs', 'snapshots'].flatMap((part) => filesBelow(join(folder, part)));
  const stats = paths.map((path) => statOf(path)).filter((stat) => stat !== null);
  return {
    repo,
    bytes: stats.filter((stat) => stat.isFile()).reduce((sum, { size }) => sum + size, 0),
    revisions: filesBelow(join(folder, 'refs')).map((path) => path.slice(folder.length + '/refs/'.length)),
    isPartial: paths.some((path) => path.endsWith('.incomplete')),
    changedMs: Math.max(0, ...stats.map(({ mtimeMs }) => mtimeMs)),
  };
}

/** Returns how many bytes are free now. Throws LockstepError `start` where there is no such model, or somebody downloads it. */
export function removeModel(cache: string, repo: string): number {
  const model = cachedModels(cache).find((each) => each.repo === repo);
  if (model === undefined)
    throw startError(`${repo} is not in the cache (${cache}); 'lockstep models list' shows what is`, { param: 'model' });
  const folder = repoFolder(cache, repo);
  const held = filesBelow(join(folder, 'blobs')).find((path) => path.endsWith('.lock') && isHeld(path));
  if (held !== undefined) throw startError(`${repo} is being downloaded by process ${readFileSync(held, 'utf8')}`, { param: 'model' });
  rmSync(folder, { recursive: true, maxRetries: 3 });
  return model.bytes;
}

function entriesOf(folder: string): string[] {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(folder) : [];
}

function filesBelow(folder: string): string[] {
  return entriesOf(folder).flatMap((name) => {
    const path = join(folder, name);
    return statOf(path)?.isDirectory() ? filesBelow(path) : [path];
  });
}

/** Of a link itself; null: it has gone just now. */
const statOf = (path: string): Stats | null => lstatSync(path, { throwIfNoEntry: false }) ?? null;
