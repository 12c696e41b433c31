/**
 * `npm run bench [-- NAME … [its flags]]`: builds, then runs bench/NAME (host, kernels, peers); without a name all that need nothing
 * from outside the repository. Figures are printed and, where a bench says so, written to bench/results.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { filesBelow, prepare, run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

/** What a bench runs: its entry, or every file of its folder. Those with `needs` are left out unless they are named. */
const benches = {
  host: { folder: 'bench/host' },
  kernels: { folder: 'bench/kernels' },
  peers: { entry: 'bench/peers/compare.ts', needs: 'npm run bench -- peers --llama-bin DIR …' },
};

const [name, ...rest] = process.argv.slice(2);
if (name !== undefined && !Object.hasOwn(benches, name))
  stopWith(`there is no bench '${name}'; there are: ${Object.keys(benches).join(', ')}`);
prepare();

const sourcesOf = ({ entry, folder }) => (entry ? [entry] : filesBelow(folder, ['.bench.ts']));
const compiled = (source) => join('dist', source.replace(/\.ts$/, '.js'));
let failures = 0;
for (const [key, bench] of Object.entries(benches)) {
  if (name === undefined ? bench.needs : name !== key) {
    if (name === undefined) say(`${key} is left out; to run it: ${bench.needs}`);
    continue;
  }
  for (const source of sourcesOf(bench).filter((source) => existsSync(compiled(source)))) {
    say(source);
    if (run(process.execPath, ['--enable-source-maps', '--expose-gc', compiled(source), ...rest]) !== 0) failures++;
  }
}
process.exit(failures === 0 ? 0 : 1);
