/**
 * `npm run bench [-- NAME … [its flags]]`: builds, then runs bench/NAME (host, kernels, start, disturbed, speculation, peers); without a name all that need nothing
 * from outside the repository. Figures are printed and, where a bench says so, written to bench/results.
 */
import { join } from 'node:path';
import { buildNativePrograms, filesBelow, kernelBench, prepare, run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

/** Each runs with the flags that were given. Those with `needs` are left out unless they are named. */
const benches = {
  host: {
    run: (flags) =>
      filesBelow('bench/host', ['.ts'])
        .filter((file) => !file.endsWith('.test.ts'))
        .map((file) => runScript(file, flags)),
  },
  kernels: { run: (flags) => [runKernels(flags)] },
  start: {
    run: (flags) => [runScript('bench/start.ts', flags)],
    needs: 'npm run bench -- start --model MODEL [--executable dist/lockstep] [--llama-bin DIR]',
  },
  disturbed: { run: (flags) => [runScript('bench/disturbed.ts', flags)], needs: 'npm run bench -- disturbed --model MODEL' },
  speculation: { run: (flags) => [runScript('bench/speculation/compare.ts', flags)], needs: 'npm run bench -- speculation --model MODEL' },
  peers: { run: (flags) => [runPeers(flags)], needs: 'npm run bench -- peers --models-dir DIR --llama-bin DIR …' },
};

function runScript(source, flags) {
  say(source);
  return run(process.execPath, ['--enable-source-maps', join('dist', source.replace(/\.ts$/, '.js')), ...flags]);
}

function runKernels(flags) {
  buildNativePrograms();
  say(kernelBench);
  return run(kernelBench, flags);
}

function runPeers(flags) {
  buildNativePrograms(); // the probe of the roofs is one
  return runScript('bench/peers/compare.ts', flags);
}

const [name, ...flags] = process.argv.slice(2);
if (name !== undefined && !Object.hasOwn(benches, name))
  stopWith(`there is no bench '${name}'; there are: ${Object.keys(benches).join(', ')}`);
prepare();
const wanted = Object.entries(benches).filter(([key, bench]) => (name === undefined ? !bench.needs : name === key));
const statuses = wanted.flatMap(([, bench]) => bench.run(flags));
if (name === undefined) for (const [key, { needs }] of Object.entries(benches)) if (needs) say(`${key} was left out; to run it: ${needs}`);
process.exit(statuses.every((status) => status === 0) ? 0 : 1);
