/**
 * `scripts/gpu-check [flags of test/gpu/main.ts]`: builds what checks a GPU into one folder and runs it there.
 *   --bundle FILE   packs the folder (.tar.xz), for a machine that has a GPU and its driver, and neither compiler nor network
 *   --built FOLDER  takes an addon and a lockstep_gpu_check that are built already; absent: they are built here, by nvcc
 *   --emulated      with devices of host memory, whose kernels are the same source: that the checks work
 *   --without-node  leaves Node out of the bundle
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { buildEmulatedGpuCheck, buildGpuCheck, prepare, run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

const bundleBytesMax = 60e6;

/** Where it was called, which `prepare.mjs` has left for the repository. */
const from = process.env.PWD ?? '.';
/** In the folder: runs its checks with the Node that it brings, or with that of the path. */
const starter = `#!/bin/sh
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
GPU_CHECK_FROM=$PWD
export GPU_CHECK_FROM
cd "$here" || exit 1
node=$here/node
[ -x "$node" ] || node=node
exec "$node" dist/test/gpu/main.js "$@"
`;
const own = { bundle: null, built: null, emulated: false, 'without-node': false };
const passedOn = [];
for (let i = 2; i < process.argv.length; i++) {
  const name = process.argv[i].replace(/^--/, '');
  if (!Object.hasOwn(own, name)) passedOn.push(process.argv[i]);
  else if (typeof own[name] === 'boolean') own[name] = true;
  else own[name] = resolve(from, process.argv[++i] ?? stopWith(`--${name} needs a value`));
}
const { emulated } = own;

prepare();
if (emulated) buildEmulatedGpuCheck();
else if (own.built === null) buildGpuCheck();
const built = own.built ?? 'build/Release';
const suffix = emulated ? '_emulated' : '';
const binaries = {
  'lockstep_native.node': emulated ? 'lockstep_emulated.node' : 'lockstep_native.node',
  lockstep_gpu_check: `lockstep_gpu_check${suffix}`,
  'liblockstep_fake_nccl.so': emulated ? 'liblockstep_fake_nccl.so' : 'liblockstep_gpu_nccl.so',
};
for (const name of Object.values(binaries)) {
  if (!existsSync(join(built, name)))
    stopWith(`there is no ${join(built, name)}: it is built where nvcc 12.8 or later is (CUDACXX, or on the path)`);
}
const tree = `build/gpu-check${emulated ? '-emulated' : ''}`;
await makeTree();
if (own.bundle === null) process.exit(run(join(tree, 'gpu-check'), passedOn, { cwd: from }));
pack(own.bundle);

async function makeTree() {
  rmSync(tree, { recursive: true, force: true });
  for (const [name, source] of Object.entries(binaries)) copy(join(built, source), `build/Release/${name}`);
  for (const file of await compiledFiles()) copy(file, file);
  for (const folder of ['test/fixtures/tiny-models', 'test/fixtures/stories260K']) cpSync(folder, join(tree, folder), { recursive: true });
  for (const file of ['LICENSE', 'docs/gpu.md']) copy(file, file);
  copy('scripts/gpu-check-torch.py', 'gpu-check-torch.py');
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  writeFileSync(join(tree, 'package.json'), JSON.stringify({ name: 'lockstep', version, type: 'module' }));
  writeFileSync(
    join(tree, 'built.json'),
    JSON.stringify({ emulated, version: commit.status === 0 ? `${version} (${commit.stdout.trim()})` : version }),
  );
  writeFileSync(join(tree, 'gpu-check'), starter);
  chmodSync(join(tree, 'gpu-check'), 0o755);
}

function copy(source, to) {
  mkdirSync(dirname(join(tree, to)), { recursive: true });
  copyFileSync(source, join(tree, to));
}

/** Those of dist/ that it needs: what is imported, and the files that threads begin with. None imports a package. */
async function compiledFiles() {
  const { build } = await import('esbuild');
  const entries = ['test/gpu/main', 'test/gpu/part', 'test/parity/ranks', 'src/parallel/rank-worker'];
  const { metafile } = await build({
    entryPoints: entries.map((name) => `dist/${name}.js`),
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'build/nowhere',
    format: 'esm',
    platform: 'node',
    packages: 'external',
    logLevel: 'error',
  });
  const packages = new Set(
    Object.values(metafile.inputs).flatMap(({ imports }) =>
      imports
        .filter(({ external, path, kind }) => external && kind === 'import-statement' && !path.startsWith('node:'))
        .map(({ path }) => path),
    ),
  );
  if (packages.size > 0) stopWith(`the checks import ${[...packages].join(', ')}, which a bundle has not`);
  return Object.keys(metafile.inputs);
}

function pack(file) {
  if (!own['without-node']) bringNode();
  const { status, stderr } = spawnSync('tar', ['-C', dirname(tree), '-cf', file, '-I', 'xz -9 -T2', tree.split('/').pop()], {
    encoding: 'utf8',
  });
  if (status !== 0) stopWith(`tar: ${stderr}`);
  const { size } = statSync(file);
  if (size > bundleBytesMax) stopWith(`${file} has ${size} bytes, more than ${bundleBytesMax}`);
  say(`packed ${file}, ${(size / 1e6).toFixed(1)} MB`);
}

/** The Node that runs this, where it is one file that needs the C and C++ libraries alone, as the official ones are. */
function bringNode() {
  const needed = spawnSync('ldd', [process.execPath], { encoding: 'utf8' }).stdout ?? '';
  const isAlone = needed.split('\n').every((line) => /^\s*$|linux-vdso|ld-linux|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+)\.so/.test(line));
  if (!isAlone) return say('this Node has libraries of its own: the bundle needs one on the path where it is run');
  copy(process.execPath, 'node');
  spawnSync('strip', [join(tree, 'node')]); // smaller where there is a strip
  chmodSync(join(tree, 'node'), 0o755);
}
