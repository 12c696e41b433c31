/** The flags that say where a model of the hub is got from and kept: of `lockstep serve` and its like, and of `lockstep models`. */
import type { Flag } from './flag.js';

export const model = 'Model';

// biome-ignore format: a row a flag
export const revision =
  { name: 'revision', type: 'string', default: null, group: model, value: 'REV',
    help: 'branch, tag or commit of a Hugging Face id. Unset: main' } as const satisfies Flag;
// biome-ignore format: a row a flag
export const downloadDir =
  { name: 'download-dir', type: 'string', default: null, group: model, value: 'FOLDER',
    help: 'where models from the hub are kept. Unset: HF_HUB_CACHE, or hub/ in HF_HOME or ~/.cache/huggingface' } as const satisfies Flag;
// biome-ignore format: a row a flag
export const hfToken =
  { name: 'hf-token', type: 'string', default: null, group: model, value: 'TOKEN', variables: ['HF_TOKEN'],
    help: 'token for gated models on the hub' } as const satisfies Flag;
