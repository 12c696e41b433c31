/** The licences of what others wrote and what is shipped with us: each text once, under the packages that it is of. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stopWith } from './tools.mjs';

/** In the page, as `scripts/page.mjs` bundles it. */
export const inPage = ['preact', '@preact/signals', '@preact/signals-core', 'marked'];
/** Whose binaries lie in prebuilds. */
export const inPrebuilds = ['uWebSockets.js', 'tokenizers'];

/** The package's folder below node_modules of every input of a bundle that is none of ours; as esbuild's metafile names them. */
export function packagesOf(metafile) {
  const names = Object.keys(metafile.inputs).map((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(input)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** Inside the addon where that was built with CUDA; its terms are NVIDIA's own. */
const cudaRuntime = `NVIDIA CUDA Runtime, linked into the addon if and only if that was built with CUDA (\`lockstep doctor\` says so)

Redistributed in object code under the NVIDIA Software License Agreement and CUDA Supplement to it: https://docs.nvidia.com/cuda/eula/`;

/** `folders`: packages, by names below node_modules or by paths. */
export function writeLicences(file, folders) {
  const packages = new Map();
  for (const folder of folders.map((name) => (existsSync(name) ? name : join('node_modules', name)))) {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const texts = readdirSync(folder).filter((entry) => /^(licen[cs]e|copying|notice)(\.|-|$)/i.test(entry));
    if (texts.length === 0 && license === undefined) stopWith(`${folder} says nothing of a licence`);
    const text = texts.map((entry) => readFileSync(join(folder, entry), 'utf8').trim()).join('\n\n') || 'It brings no text of its licence.';
    packages.set(text, [...(packages.get(text) ?? []), `${name} ${version} (${license ?? 'see below'})`]);
  }
  const parts = [...packages].map(([text, names]) => `${names.sort().join('\n')}\n\n${text}`);
  writeFileSync(file, [...parts, cudaRuntime].map((part) => `${'='.repeat(100)}\n${part}\n`).join('\n'));
}
