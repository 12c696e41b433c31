/** The flags of `lockstep models`. */
import type { Flag, OptionsOf } from './flag.js';
import { downloadDir, model as group, hfToken, revision } from './hub-flags.js';
import type { CommandTable } from './load-options.js';

const cacheFlags = [downloadDir] as const satisfies readonly Flag[];

// biome-ignore format: a row a flag
const modelFlag = { name: 'model', type: 'string', default: null, group, value: 'MODEL', help: 'Hugging Face id; may stand without the flag' } as const satisfies Flag;

const pullFlags = [modelFlag, revision, hfToken, ...cacheFlags] as const satisfies readonly Flag[];

export type ModelsListOptions = OptionsOf<typeof cacheFlags>;
export type ModelsPullOptions = OptionsOf<typeof pullFlags>;

export const modelsListCommand = {
  name: 'models list',
  summary: 'the models in the Hugging Face cache, and how much of the disk they take',
  flags: cacheFlags,
  isConfigurable: false,
} as const satisfies CommandTable;

export const modelsPullCommand = {
  name: 'models pull',
  summary: 'download a model into that cache, so that `serve` has it at once',
  flags: pullFlags,
  positional: 'model',
  isConfigurable: false,
} as const satisfies CommandTable;

const removeFlags = [modelFlag, ...cacheFlags] as const satisfies readonly Flag[];

export type ModelsRemoveOptions = OptionsOf<typeof removeFlags>;

export const modelsRemoveCommand = {
  name: 'models remove',
  summary: 'remove a model from that cache',
  flags: removeFlags,
  positional: 'model',
  isConfigurable: false,
} as const satisfies CommandTable;
