/**
 * What MODEL names: a folder, a .gguf file, or a model on the hub. Local things go first; only what looks like a hub id is looked for
 * on the network, so that a mistyped path fails at once.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { startError } from '../errors.js';
import { downloadModel, type HubName, type HubOptions } from './hub.js';

/** owner/name or name, then perhaps :QUANT or /file.gguf. */
const hubId = /^(?<repo>[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?)(?::(?<quant>[\w.-]+)|\/(?<file>[\w./-]+\.gguf))?$/;

export function parseHubName(name: string): HubName | null {
  const match = hubId.exec(name);
  if (!match?.groups || name.includes('..') || name.includes('--')) return null;
  const { repo, quant, file } = match.groups;
  if (repo === undefined || (repo.endsWith('.gguf') && !quant && !file)) return null;
  return { repo, quant: quant ?? null, file: file ?? null };
}

/** Path of a Hugging Face folder or a .gguf file, for its model or its tokenizer `only`; downloads what is not here. */
export async function resolveModel(nameOrPath: string, options: HubOptions): Promise<string> {
  const path = nameOrPath.startsWith('~/') ? join(homedir(), nameOrPath.slice(2)) : nameOrPath;
  const found = path === '' ? undefined : statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) return options.only === 'tokenizer' ? resolve(path) : resolveFolder(resolve(path));
  if (found) {
    if (path.endsWith('.gguf')) return resolve(path);
    throw startError(`${path} is a file, but not a .gguf file; name a .gguf file, or the folder that holds config.json`, {
      param: 'model',
    });
  }
  const name = parseHubName(nameOrPath);
  if (name === null || (name.file !== null && existsSync(name.repo))) {
    throw startError(`${path || 'an empty model name'}: no such folder or file, and not a Hugging Face model id (owner/name)`, {
      param: 'model',
    });
  }
  return downloadModel(name, options);
}

/** A folder with config.json, or with .gguf files of one model alone. */
function resolveFolder(folder: string): string {
  if (existsSync(join(folder, 'config.json'))) return folder;
  const files = readdirSync(folder).filter((name) => name.endsWith('.gguf') && !name.startsWith('mmproj'));
  const models = files.filter((name) => !/-\d{5}-of-\d{5}\.gguf$/.test(name) || name.includes('-00001-of-'));
  if (models.length === 1) return join(folder, models[0] as string);
  const what =
    models.length > 1
      ? `${models.length} .gguf files, and MODEL must name one of them: ${models.sort().join(', ')}`
      : 'neither config.json nor a .gguf file';
  throw startError(`${folder} holds ${what}`, { param: 'model' });
}
