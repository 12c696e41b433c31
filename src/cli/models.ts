/** `lockstep models`: what lies in the Hugging Face cache, a download into it, and a removal from it. */
import { startError } from '../errors.js';
import { createLogger } from '../log.js';
import { formatBytes } from '../model/checkpoint.js';
import { downloadModel, type HubName } from '../model/hub.js';
import { cachedModels, hubCache, removeModel } from '../model/hub-cache.js';
import type { ProgressOutput } from '../model/hub-progress.js';
import { parseHubName } from '../model/resolve.js';
import type { ModelsListOptions, ModelsPullOptions, ModelsRemoveOptions } from './models-options.js';

type Environment = Readonly<Record<string, string | undefined>>;

const cacheOf = ({ downloadDir }: ModelsListOptions, env: Environment) => downloadDir ?? hubCache(env);

export function listModels(options: ModelsListOptions, env: Environment): string {
  const cache = cacheOf(options, env);
  const models = cachedModels(cache);
  if (models.length === 0) return `no models in ${cache}\n`;
  const rows = models.map(({ repo, bytes, revisions, isPartial, changedMs }) => [
    repo,
    formatBytes(bytes),
    new Date(changedMs).toISOString().slice(0, 10),
    `${revisions.join(', ')}${isPartial ? ' (not whole)' : ''}`,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const total = models.reduce((sum, { bytes }) => sum + bytes, 0);
  return `${lines.join('\n')}\n${formatBytes(total)} in ${cache}\n`;
}

/** Returns the folder, or the .gguf file. */
export function pullModel(options: ModelsPullOptions, env: Environment, progress: ProgressOutput): Promise<string> {
  const name = hubNameOf(options.model);
  const set = { ...(options.hfToken !== null && { HF_TOKEN: options.hfToken }), HF_HUB_CACHE: cacheOf(options, env) };
  const revision = options.revision === null ? {} : { revision: options.revision };
  return downloadModel(name, { env: { ...env, ...set }, log: createLogger(), progress, ...revision });
}

export function removeFromCache(options: ModelsRemoveOptions, env: Environment): string {
  const { repo, quant, file } = hubNameOf(options.model);
  // Its files may be those of other names, too.
  if (quant !== null || file !== null)
    throw startError(`a model is removed as a whole: lockstep models remove ${repo}`, { param: 'model' });
  return `${repo} removed: ${formatBytes(removeModel(cacheOf(options, env), repo))}\n`;
}

function hubNameOf(model: string | null): HubName {
  const name = model === null ? null : parseHubName(model);
  if (name !== null) return name;
  throw startError(model === null ? 'MODEL is missing: a Hugging Face id' : `'${model}' is not a Hugging Face model id (owner/name)`, {
    param: 'model',
  });
}
