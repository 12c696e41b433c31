/**
 * A model of the Hugging Face hub -> a local folder, in the cache layout that the Python library uses (blobs, refs, snapshots), so that
 * both share what is there. Only the files that are read get fetched; a broken download goes on where it stopped.
 * @huggingface/hub speaks the protocol; it knows neither HF_ENDPOINT, HF_TOKEN, offline mode, resuming nor progress, which are here.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { startError } from '../errors.js';
import type { Logger } from '../log.js';
import { formatBytes } from './checkpoint.js';
import { isFields, readJsonObject } from './config.js';
import { hubCache, hubHome, repoFolder } from './hub-cache.js';
import { fetchFile, type HubFile } from './hub-file.js';
import { DownloadProgress, type ProgressOutput } from './hub-progress.js';

export interface HubName {
  readonly repo: string;
  /** A .gguf file of the repository by its quantisation ("Q4_K_M") or by its path; null: safetensors. */
  readonly quant: string | null;
  readonly file: string | null;
}

export interface HubOptions {
  /** Environment variables, as the outermost room read them. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly progress: ProgressOutput;
  /** Branch, tag or commit; 'main' when absent. */
  readonly revision?: string;
  /** Absent: everything that a model needs. Otherwise no weights are fetched. */
  readonly only?: 'tokenizer';
}

interface Hub {
  readonly url: string;
  readonly token: string | undefined;
  readonly revision: string;
  /** blobs, refs and snapshots of one repository. */
  readonly folder: string;
}

const parallelDownloads = 4;
const listedFilesMax = 100_000;
// biome-ignore format: a table
const usefulJson = new Set([
  'config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json',
  'chat_template.json', 'chat_template.jinja', 'model.safetensors.index.json', 'modules.json', 'sentence_bert_config.json',
]);
/** What modules.json of sentence-transformers names: 1_Pooling, 2_Dense, … */
const moduleFile = /^\d+_\w+\/(config\.json|model\.safetensors)$/;

/** Downloads what is missing and returns the snapshot's folder, or the path of its .gguf file. */
export async function downloadModel(name: HubName, options: HubOptions): Promise<string> {
  const hub = hubOf(name.repo, options);
  if (isSet(options.env.HF_HUB_OFFLINE)) {
    const cached = cachedModel(hub, name, options);
    if (cached) return cached;
    throw startError(`${name.repo} is not in the cache (${hub.folder}), and HF_HUB_OFFLINE forbids to fetch it`, { param: 'model' });
  }
  try {
    return await fetchModel(hub, name, options);
  } catch (cause) {
    if (!isConnectionFault(cause)) throw explained(cause, name.repo, hub);
    const cached = cachedModel(hub, name, options);
    if (!cached) throw explained(cause, name.repo, hub);
    options.log.warn(`${hub.url} cannot be reached; serving ${name.repo} from the cache`);
    return cached;
  }
}

function hubOf(repo: string, { env, revision = 'main' }: HubOptions): Hub {
  const url = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(url)) throw startError(`HF_ENDPOINT is ${JSON.stringify(url)}; expected a URL such as https://huggingface.co`);
  return { url, token: accessToken(env, hubHome(env)), revision, folder: repoFolder(hubCache(env), repo) };
}

function accessToken(env: HubOptions['env'], home: string): string | undefined {
  const file = env.HF_TOKEN_PATH || join(home, 'token');
  const token = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || (existsSync(file) ? readFileSync(file, 'utf8') : '');
  if (token.trim() === '') return undefined;
  if (!token.trim().startsWith('hf_')) throw startError('the Hugging Face token (HF_TOKEN) must start with hf_');
  return token.trim();
}

const isSet = (value: string | undefined) => value !== undefined && ['1', 'on', 'yes', 'true'].includes(value.toLowerCase());

async function fetchModel(hub: Hub, name: HubName, options: HubOptions): Promise<string> {
  // Loaded here, since it takes 30 ms and local models never need it.
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const credentials = hub.token === undefined ? {} : { accessToken: hub.token };
  const common = { hubUrl: hub.url, ...credentials };
  const { sha } = await modelInfo({ name: name.repo, revision: hub.revision, additionalFields: ['sha'], ...common });
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha)) throw startError(`${hub.url} names no commit for ${name.repo}`);
  const files: HubFile[] = [];
  for await (const entry of listFiles({ repo: name.repo, revision: sha, recursive: true, ...common })) {
    if (entry.type !== 'file') continue;
    files.push({
      path: entry.path,
      size: entry.size,
      blob: entry.lfs?.oid ?? entry.oid ?? entry.xetHash ?? '',
      sha256: entry.lfs?.oid ?? null,
    });
    if (files.length > listedFilesMax) throw startError(`${name.repo} has more than ${listedFilesMax} files`);
  }
  const snapshot = join(hub.folder, 'snapshots', sha);
  const target = {
    repo: name.repo,
    commit: sha,
    folder: hub.folder,
    snapshot,
    ...common,
    xet: !isSet(options.env.HF_HUB_DISABLE_XET),
    log: options.log,
  };
  const get = (wanted: readonly HubFile[]) =>
    fetchAll(wanted, (file, progress) => fetchFile(file, target, progress), snapshot, options, name.repo);
  let result = snapshot;
  if (name.quant !== null || name.file !== null) {
    const parts = ggufFiles(files, name);
    await get(parts);
    result = join(snapshot, (parts[0] as HubFile).path);
  } else {
    const hasModules = files.some((file) => file.path === 'modules.json');
    await get(files.filter(({ path }) => usefulJson.has(path) || (hasModules && moduleFile.test(path))));
    if (options.only !== 'tokenizer') await get(weightFiles(files, snapshot, name.repo));
  }
  if (hub.revision !== sha) {
    const ref = join(hub.folder, 'refs', hub.revision);
    mkdirSync(dirname(ref), { recursive: true });
    writeFileSync(ref, sha);
  }
  return result;
}

async function fetchAll(
  wanted: readonly HubFile[],
  fetchOne: (file: HubFile, progress: DownloadProgress) => Promise<void>,
  snapshot: string,
  options: HubOptions,
  repo: string,
): Promise<void> {
  const missing = wanted.filter((file) => !existsSync(join(snapshot, file.path)));
  const bytes = missing.reduce((sum, file) => sum + file.size, 0);
  if (missing.length === 0) return;
  mkdirSync(snapshot, { recursive: true });
  const disk = statfsSync(snapshot);
  if (bytes > disk.bavail * disk.bsize) {
    throw startError(
      `${repo} needs ${formatBytes(bytes)}, but the disk of ${snapshot} has ${formatBytes(disk.bavail * disk.bsize)} free; HF_HOME may name another`,
    );
  }
  const progress = new DownloadProgress(repo, bytes, options.progress, options.log);
  const queue = [...missing];
  const worker = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) await fetchOne(file, progress);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(parallelDownloads, missing.length) }, worker));
  } finally {
    queue.length = 0; // one failed: the others stop after their file
    progress.end();
  }
}

/** The safetensors that hold the model once: those of the index, or model.safetensors. */
function weightFiles(files: readonly HubFile[], snapshot: string, repo: string): HubFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const single = byPath.get('model.safetensors');
  if (single) return [single];
  const index = join(snapshot, 'model.safetensors.index.json');
  if (existsSync(index)) {
    const map = readJsonObject(index).weight_map;
    const names = [...new Set(Object.values(isFields(map) ? map : {}))];
    return names.map((name) => {
      const file = typeof name === 'string' ? byPath.get(name) : undefined;
      if (!file) throw startError(`${repo}: its index names ${JSON.stringify(name)}, which the repository lacks`);
      return file;
    });
  }
  const quants = files.filter((file) => file.path.endsWith('.gguf')).map((file) => basename(file.path));
  if (quants.length > 0)
    throw startError(`${repo} holds GGUF files; name one as ${repo}/FILE or ${repo}:QUANT: ${quants.slice(0, 30).join(', ')}`, {
      param: 'model',
    });
  throw startError(`${repo} holds no model.safetensors and no .gguf file; other weight formats cannot be loaded`, { param: 'model' });
}

/** The .gguf file that `name` asks for, with its further parts. */
function ggufFiles(files: readonly HubFile[], { repo, quant, file }: HubName): HubFile[] {
  const all = files.filter((f) => f.path.endsWith('.gguf') && !basename(f.path).startsWith('mmproj'));
  const asked = quant === null ? null : new RegExp(`(^|[-._/])${quant.replace(/[.]/g, '\\.')}([-./]|$)`, 'i');
  const matches = all.filter((f) => (asked ? asked.test(f.path.replace(/\.gguf$/, '')) : f.path === file));
  const first = matches
    .filter((f) => !/-\d{5}-of-\d{5}\.gguf$/.test(f.path) || f.path.includes('-00001-of-'))
    .sort((a, b) => a.path.length - b.path.length)[0];
  if (!first) {
    const names = all.map((f) => basename(f.path)).slice(0, 30);
    throw startError(`${repo} has no .gguf file ${quant ?? file}; it has ${names.join(', ') || 'none'}`, { param: 'model' });
  }
  const stem = first.path.replace(/-00001-of-(\d{5})\.gguf$/, '');
  return stem === first.path
    ? [first]
    : all.filter((f) => f.path.startsWith(`${stem}-`) && /-\d{5}-of-\d{5}\.gguf$/.test(f.path)).sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What the cache holds of this revision, or null. */
function cachedModel(hub: Hub, name: HubName, { only }: HubOptions): string | null {
  const ref = join(hub.folder, 'refs', hub.revision);
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : hub.revision;
  const snapshot = join(hub.folder, 'snapshots', basename(commit));
  if (!existsSync(snapshot)) return null;
  const sign = only === 'tokenizer' ? 'tokenizer.json' : 'config.json';
  if (name.quant === null && name.file === null) return existsSync(join(snapshot, sign)) ? snapshot : null;
  const files = readdirSync(snapshot, { recursive: true, encoding: 'utf8' }).map(
    (path): HubFile => ({ path, size: 0, blob: '', sha256: null }),
  );
  try {
    return join(snapshot, (ggufFiles(files, name)[0] as HubFile).path);
  } catch {
    return null;
  }
}

function isConnectionFault(error: unknown): boolean {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  return name === 'TypeError' && typeof cause?.code === 'string';
}

/** The library's errors say status and URL; a user needs what to do. */
function explained(error: unknown, repo: string, hub: Hub): Error {
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if ((error as { code?: string }).code === 'start') return error as Error;
  const options = { param: 'model', cause: error };
  if (statusCode === 404)
    return startError(`${repo}: no such folder here, and no such model (or revision ${hub.revision}) at ${hub.url}`, options);
  if (statusCode === 401 || statusCode === 403) {
    const token = hub.token
      ? 'the token has no access to it; accept its licence on its page, or use another token'
      : 'set HF_TOKEN if it is private or gated; a mistyped name gives the same answer';
    return startError(`${repo}: ${hub.url} refuses access: ${token}`, options);
  }
  const cause = (error as { cause?: { message?: string } }).cause?.message;
  return startError(`${repo}: no such folder here, and ${hub.url} gives no answer that can be used: ${cause ?? message}`, options);
}
