/**
 * Brings a checkout into a state in which Lockstep runs: npm packages, the native addon, compiled TypeScript.
 * Each step is left out when nothing that it reads has changed. Built-ins of Node only: it runs before anything is installed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkBuildTools, checkNode, stopWith } from './tools.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

/** A file of a package, which lies in node_modules here or, where this one is installed, above. */
export const fileOf = createRequire(import.meta.url).resolve;

/** One line a step, on stderr: stdout stays a program's own. */
export function say(line) {
  process.stderr.write(`lockstep: ${line}\n`);
}

/** Every file below `folder` whose name ends in one of `endings`, as paths relative to the repository, sorted. */
export function filesBelow(folder, endings) {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return paths.filter((path) => endings.some((ending) => path.endsWith(ending))).sort();
}

/** Runs a program to its end. Its exit status, 1 when a signal ended it. */
export function run(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', ...options });
  if (error) stopWith(`${program} could not be started: ${error.message}`);
  return status ?? 1;
}

function digest(files, ...more) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(file)).update('\0');
  for (const text of more) hash.update(`${text}\0`);
  return hash.digest('hex');
}

/** Runs `work` unless `product` is there and the stamp beside it holds `key`; the stamp is written only when `work` returns. */
export function unlessDone(product, key, work) {
  const stamp = `${product}.stamp`;
  if (existsSync(product) && existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
}

/** Whether node_modules holds what package-lock.json asks for. npm writes what it installed into a lock file of its own. */
function packagesAreCurrent() {
  const installedPath = 'node_modules/.package-lock.json';
  if (!existsSync(installedPath)) return false;
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedPath, 'utf8')).packages;
  // Optional packages are those of other platforms; a program that lacks one says so itself.
  return Object.entries(wanted).every(([path, { version, optional }]) => path === '' || optional || installed[path]?.version === version);
}

export function installPackages() {
  if (packagesAreCurrent()) return;
  const linked = existsSync('node_modules') && lstatSync('node_modules').isSymbolicLink();
  if (linked) return say('node_modules is a link and differs from package-lock.json: left as it is');
  say('installing npm packages (npm ci) …');
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  if (run(npm[0], [...npm.slice(1), 'ci', '--include=dev', '--no-fund', '--no-audit', '--loglevel=error']) !== 0)
    stopWith('npm ci failed; see above');
}

/** Runs a build whose output matters only when it fails: then its end is shown. */
export function runQuietly(what, program, args) {
  const { status, stdout, error } = spawnSync('sh', ['-c', 'exec "$0" "$@" 2>&1', program, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status === 0) return;
  process.stderr.write(`${(stdout ?? '').split('\n').slice(-60).join('\n')}\n`);
  stopWith(`${what} failed; see above${error ? ` (${error.message})` : ''}`);
}

const compilerVariables = ['CC', 'CXX', 'CFLAGS', 'CXXFLAGS', 'LDFLAGS', 'CUDACXX', 'CUDAToolkit_ROOT'];

/** Changes with everything that the native builds read. */
export function nativeKey() {
  const sources = filesBelow('native', ['.h', '.cpp', '.cu', '.cuh', '.cmake', 'CMakeLists.txt']);
  const flags = compilerVariables.map((name) => process.env[name] ?? '');
  // With nvcc the addon has CUDA, and another nvcc makes another one.
  const nvcc = spawnSync(process.env.CUDACXX || 'nvcc', ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return digest(
    ['CMakeLists.txt', relative(root, fileOf('node-addon-api/package.json')), ...sources],
    process.platform,
    process.arch,
    nvcc,
    ...flags,
  );
}

/** Builds a target of CMakeLists.txt in build/, unless `product` is newer than all that it is made of. */
function compile(target, product, note) {
  unlessDone(product, nativeKey(), () => {
    checkBuildTools();
    say(note);
    const args = ['compile', '--out', 'build', '--target', target, '--parallel', String(availableParallelism())];
    runQuietly(`the build of ${target}`, process.execPath, [fileOf('cmake-js/bin/cmake-js'), ...args]);
  });
}

export function buildAddon() {
  compile('lockstep_native', 'build/Release/lockstep_native.node', 'building the native addon (a minute or two the first time) …');
}

/** The addon whose GPUs are emulated, for tests. */
function buildEmulatedAddon() {
  compile('lockstep_emulated', 'build/Release/lockstep_emulated.node', 'building the addon with emulated GPUs …');
}

/** The program of scripts/gpu-check, over emulated GPUs. */
export function buildEmulatedGpuCheck() {
  buildEmulatedAddon();
  compile('lockstep_gpu_check_emulated', 'build/Release/lockstep_gpu_check_emulated', 'building the checks of GPUs over emulated ones …');
}

/** The same for real GPUs, where the addon is built by nvcc; there is no such target elsewhere. */
export function buildGpuCheck() {
  buildAddon();
  compile('lockstep_gpu_nccl', 'build/Release/liblockstep_gpu_nccl.so', 'building the libnccl of the tests …');
  compile('lockstep_gpu_check', 'build/Release/lockstep_gpu_check', 'building the checks of GPUs …');
}

export const nativeTest = 'build/native/test/lockstep_test';
export const kernelBench = 'build/native/bench/lockstep_kernel_bench';

/** The plain C++ programs: native/test and native/bench. */
export function buildNativePrograms() {
  compile('lockstep_programs', nativeTest, 'building the native test program …');
}

/** Compiled files whose source is gone would still be found by imports and by the test runner. */
function removeStaleOutput() {
  for (const output of filesBelow('dist', ['.js', '.js.map'])) {
    const source = relative('dist', output).replace(/\.js(\.map)?$/, '.ts');
    if (!existsSync(source) && !existsSync(`${source}x`)) rmSync(output);
  }
}

export function buildTypeScript() {
  const sources = ['src', 'test', 'bench'].flatMap((folder) => filesBelow(folder, ['.ts']));
  unlessDone('dist/.tsbuildinfo', digest([...sources, 'tsconfig.json', 'package-lock.json']), () => {
    say('compiling TypeScript …');
    removeStaleOutput();
    if (run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.']) !== 0) stopWith('TypeScript found errors; see above');
  });
}

/** The page that the server sends, and what its tests run. */
export function buildPage() {
  const sources = filesBelow('src/page', ['']);
  unlessDone('dist/page/index.html.gz', digest([...sources, 'scripts/page.mjs', 'tsconfig.json', 'package-lock.json']), () => {
    say('building the page …');
    if (run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'src/page']) !== 0) stopWith('TypeScript found errors; see above');
    if (run(process.execPath, ['scripts/page.mjs']) !== 0) stopWith('the page could not be bundled; see above');
  });
}

export function prepare() {
  checkNode();
  installPackages();
  buildAddon();
  buildTypeScript();
  buildPage();
}
