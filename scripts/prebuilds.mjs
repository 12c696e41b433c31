/** Native code for one platform in one folder, as `src/prebuilt.ts` looks for it: what is shipped has the binaries that it can use, and no others. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
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
