/** `--config FILE.yaml`: flag names, with dashes or underscores, and their values. Which flag a name is, `load-options.ts` says. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startError } from '../errors.js';

/** The file's values by flag name. Throws LockstepError `start` when the file cannot be read or is not a mapping. */
export function readConfigFile(path: string): ReadonlyMap<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw startError(`--config ${path} cannot be read: ${(error as Error).message}`, { param: 'config', cause: error });
  }
  return parseConfig(text, path);
}

export function parseConfig(text: string, path: string): ReadonlyMap<string, unknown> {
  // Loaded here: it takes 30 ms, and most starts have no file.
  const { parse } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw startError(`--config ${path} is not YAML: ${reason}`, { param: 'config', cause: error });
  }
  if (value === null || value === undefined) return new Map();
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw startError(`--config ${path} must hold 'flag: value' lines, such as 'port: 8000'`, { param: 'config' });
  }
  return new Map(Object.entries(value).map(([name, entry]) => [name.replace(/^[^.]+/, (flag) => flag.replace(/_/g, '-')), entry]));
}
