/** Finds the compiled addon, once a thread, or says what was tried and what to do. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { startError } from '../errors.js';
import { packageRoot, prebuilt } from '../prebuilt.js';
import type { NativeAddon } from './binding.js';

/** Where cmake-js leaves it, from the package's root. */
const builtAt = join('build', 'Release', 'lockstep_native.node');

let loaded: NativeAddon | undefined;

/** The native addon. Throws a start error that names the file and the remedy. */
export function loadAddon(): NativeAddon {
  loaded ??= openAddon(addonPath());
  return loaded;
}

/** The file that `loadAddon` opens: what was built on this machine, or else what was brought along. */
export function addonPath(): string {
  const built = join(packageRoot(), builtAt);
  return existsSync(built) ? built : (prebuilt('lockstep_native.node') ?? built);
}

/** The same from a path of one's own. */
export function openAddon(path: string): NativeAddon {
  if (!existsSync(path)) {
    throw startError(`the native addon is not built: there is no ${path}; ${howToBuild()} (it needs CMake >= 3.22 and a C++17 compiler)`);
  }
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw startError(`the native addon ${path} does not load: ${reason}; ${remedyFor(reason)}`, { cause });
  }
}

/** What to do about what the dynamic linker said. */
export function remedyFor(reason: string): string {
  const [, library, version] = /version `(GLIBC|GLIBCXX)_([\d.]+)' not found/.exec(reason) ?? [];
  if (library !== undefined)
    return `it was built for ${library === 'GLIBC' ? 'glibc' : 'libstdc++'} ${version} or later, which this system lacks: ${howToBuild()}`;
  if (/failed to map segment|Operation not permitted/.test(reason))
    return 'its file system may be mounted noexec: LOCKSTEP_CACHE names another folder for what is unpacked';
  return `it may be of another machine: ${howToBuild()}`;
}

/** In a checkout, in an installed package, and in what the single executable has unpacked. */
function howToBuild(): string {
  const has = (name: string) => existsSync(join(packageRoot(), name));
  if (has('src')) return 'remove build/ and run `npm run build`';
  return has('CMakeLists.txt') ? 'run `npm rebuild lockstep`' : 'the npm package compiles one where it is installed';
}
