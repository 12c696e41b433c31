/** The flags of `lockstep models`. */
import type { Flag, OptionsOf } from './flag.js';
import type { CommandTable } from './load-options.js';

const group = 'Models';

// biome-ignore format: a row a flag
const cacheFlags = [
  { name: 'download-dir', type: 'string', default: null, group, value: 'FOLDER',
    help: 'where models from the hub are kept. Unset: HF_HUB_CACHE, or hub/ in HF_HOME or ~/.cache/huggingface' },
] as const satisfies readonly Flag[];

// biome-ignore format: a row a flag
const modelFlag = { name: 'model', type: 'string', default: null, group, value: 'MODEL', help: 'Hugging Face id; may stand without the flag' } as const satisfies Flag;

const pullFlags = [
  modelFlag,
  {
    name: 'revision',
    type: 'string',
    default: null,
    group,
    value: 'REV',
    help: 'branch, tag or commit. Unset: main',
  },
  {
    name: 'hf-token',
    type: 'string',
    default: null,
    group,
    value: 'TOKEN',
    variables: ['HF_TOKEN'],
    help: 'token for gated models on the hub',
  },
  ...cacheFlags,
] as const satisfies readonly Flag[];

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
