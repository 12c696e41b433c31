/**
 * Runs where npm installs the package. The addon that it brings along is for Linux with a glibc that is not too old; anywhere else one is compiled,
 * which takes a C++17 compiler and CMake. In a checkout `npm run build` does that, so that nothing is done here.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { buildAddon, root, say } from './prepare.mjs';

/** Why the addon that was brought along is of no use; null: it is. */
function problemOf(path) {
  if (!existsSync(path)) return `there is none for ${process.platform} on ${process.arch}`;
  try {
    createRequire(import.meta.url)(path);
    return null;
  } catch (error) {
    return error.message;
  }
}

if (!existsSync('src')) {
  const problem = problemOf(join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'lockstep_native.node'));
  if (problem !== null) {
    say(`the addon that comes with the package cannot be used (${problem}): it is compiled here`);
    buildAddon();
  }
}
