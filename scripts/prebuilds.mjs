/** Native code for one platform in one folder, as `src/prebuilt.ts` looks for it: what is shipped has the binaries that it can use, and no others. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileOf, nativeKey, runQuietly, say, unlessDone } from './prepare.mjs';
import { stopWith } from './tools.mjs';

/** `addon`: its file. `abis`: of the versions of Node for which uWebSockets.js comes along (process.versions.modules). */
export function collectPrebuilds(folder, { os, arch, addon, abis }) {
  mkdirSync(folder, { recursive: true });
  const sources = {
    'lockstep_native.node': addon,
    'tokenizers.node': `node_modules/tokenizers/tokenizers.${os}-${arch}-gnu.node`,
    ...Object.fromEntries(abis.map((abi) => [`uws-${abi}.node`, `node_modules/uWebSockets.js/uws_${os}_${arch}_${abi}.node`])),
  };
  for (const [name, source] of Object.entries(sources)) {
    if (!existsSync(source)) stopWith(`there is no ${source}`);
    copyFileSync(source, join(folder, name));
  }
}

/** Builds the addon for Linux on 64-bit Arm. Its file; null where Debian's cross compiler is not installed. */
export function buildArmAddon() {
  const compilers = { C: 'aarch64-linux-gnu-gcc', CXX: 'aarch64-linux-gnu-g++' };
  if (spawnSync(compilers.CXX, ['--version']).status !== 0) return null;
  const folder = 'build/linux-arm64';
  const addon = `${folder}/lockstep_native.node`;
  unlessDone(addon, nativeKey(), () => {
    say('building the native addon for Arm …');
    const { include_dir: headers } = createRequire(fileOf('cmake-js/package.json'))('node-api-headers');
    const settings = {
      CMAKE_BUILD_TYPE: 'Release',
      CMAKE_SYSTEM_NAME: 'Linux',
      CMAKE_SYSTEM_PROCESSOR: 'aarch64',
      CMAKE_JS_INC: headers,
      ...Object.fromEntries(Object.entries(compilers).map(([language, compiler]) => [`CMAKE_${language}_COMPILER`, compiler])),
    };
    const flags = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
    runQuietly('its configuration', 'cmake', ['-S', '.', '-B', folder, ...flags]);
    runQuietly('its build', 'cmake', ['--build', folder, '--target', 'lockstep_native', '--parallel', String(availableParallelism())]);
  });
  return addon;
}
