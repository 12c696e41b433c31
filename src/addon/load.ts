/** Finds the compiled addon, once a thread, or says what was tried and what to do. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startError } from '../errors.js';
import type { NativeAddon } from './binding.js';

/** Where cmake-js leaves it, from the package's root. */
const builtAt = join('build', 'Release', 'lockstep_native.node');

let loaded: NativeAddon | undefined;

/** The native addon. Throws a start error that names the file and the remedy. */
export function loadAddon(): NativeAddon {
  loaded ??= openAddon(addonPath());
  return loaded;
}

/** The file that `loadAddon` opens. */
export function addonPath(): string {
  return join(packageRoot(), builtAt);
}

/** The same from a path of one's own. */
export function openAddon(path: string): NativeAddon {
  if (!existsSync(path)) {
    throw startError(
      `the native addon is not built: there is no ${path}; run \`npm run build\` (it needs CMake >= 3.22 and a C++17 compiler)`,
    );
  }
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw startError(
      `the native addon ${path} does not load: ${reason}; it may be of another machine: remove build/ and run \`npm run build\``,
      { cause },
    );
  }
}

/** The folder of package.json above this file, which is run from dist/. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
