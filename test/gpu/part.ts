/** One part of scripts/gpu-check, in a process of its own: `part.js NAME JSON`. What it finds are lines on stdout (`line.ts`). */
import { figures, type Roof } from './figures.js';
import { goldens } from './goldens.js';
import { sameness, severalRanks } from './sameness.js';

export interface PartOptions {
  /** Below which libraries are looked for. */
  readonly roots: readonly string[];
  /** The libnccl of the tests. */
  readonly nccl: string;
  readonly roof: Roof;
  /** For each figure. */
  readonly seconds: number;
  /** The device is emulated, and slow: a prompt of each model and a few ids. */
  readonly small: boolean;
}

const [name = '', text = ''] = process.argv.slice(2);
const options = JSON.parse(text) as PartOptions;
const [kind, of = ''] = name.split(' ');
if (kind === 'goldens') await goldens(options.small);
else if (kind === 'sameness') await sameness(options.small);
else if (kind === 'ranks') await severalRanks(options.nccl, options.small);
else if (kind === 'figures') await figures(of, options.roof, options.roots, options.seconds);
else throw new Error(`there is no part '${name}'`);
// A rank whose load has failed leaves threads behind.
process.exit(0);
