/** Goldens as `data/README.md` of the shared folder describes them, and where models with goldens lie. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface GoldenPrompt {
  readonly id: string;
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly min_margin: number;
  readonly steps: readonly {
    readonly id: number;
    readonly logprob: number;
    readonly margin: number;
    readonly top: readonly (readonly [number, number])[];
  }[];
  readonly last_position?: { readonly logits_f32_b64: string };
  readonly prompt_argmax?: readonly number[];
}
export interface Golden {
  readonly model: string;
  readonly prompts: readonly GoldenPrompt[];
}

/** Repository root; tests run from there. */
const root = process.cwd();
export const fixtures = join(root, 'test/fixtures');
export { sharedData } from '../shared-data.js';

export const readGolden = (path: string): Golden => JSON.parse(readFileSync(path, 'utf8')) as Golden;

/** Folders of a directory that hold a golden.json. */
export function modelsIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => existsSync(join(directory, name, 'golden.json')));
}

export function lastLogits(prompt: GoldenPrompt): Float32Array {
  const bytes = Buffer.from(prompt.last_position?.logits_f32_b64 ?? '', 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
