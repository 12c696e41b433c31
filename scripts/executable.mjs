/**
 * `npm run build:executable [-- ADDON PRODUCT]`: dist/lockstep, one file that needs nothing but the C and C++ libraries of a Linux system. It is Node's
 * official binary with the program behind it as a single executable application; `src/cli/executable/` unpacks what has to lie in files and starts it.
 * Where CUDACXX names nvcc, or it is on the path, CUDA code is in it. ADDON: another addon than the one of build/Release.
 */
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { inPage, inPrebuilds, packagesOf, writeLicences } from './licences.mjs';
import { collectPrebuilds } from './prebuilds.mjs';
import { filesBelow, prepare, run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

if (process.platform !== 'linux') stopWith('the single executable is made on Linux only');
prepare();
// In a fresh clone they are there from now on.
const [{ build }, { inject }] = await Promise.all([import('esbuild'), import('postject')]);

/** The last of Node 20, with its ABI: there uWebSockets.js runs with glibc 2.27 and later; for later versions of Node it wants 2.38. */
const nodeVersion = '20.20.2';
const nodeAbi = 115;
const bytesMax = 115e6;

const { platform: os, arch } = process;
const work = 'build/executable';
const tree = `${work}/tree`;
const [addon = 'build/Release/lockstep_native.node', product = 'dist/lockstep'] = process.argv.slice(2);

/** Node's own build, from npm: a distribution's may need libraries of that distribution. */
function officialNode() {
  const name = `node-${os}-${arch}`;
  const folder = `${work}/node-${nodeVersion}`;
  const binary = `${folder}/node_modules/${name}/bin/node`;
  if (existsSync(binary)) return binary;
  say(`fetching ${name} ${nodeVersion} …`);
  const args = ['install', '--silent', '--no-save', '--ignore-scripts', '--prefix', folder, `${name}@${nodeVersion}`];
  if (run('npm', args) !== 0) stopWith(`${name} could not be installed; see above`);
  return binary;
}

const forNode = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning' };

/**
 * The program and the files of its threads, as few modules. All lie in dist/src/cli: what a module finds beside itself or two folders up is found from
 * there as well.
 * Returns the packages that went in.
 */
async function bundleProgram() {
  const { metafile } = await build({
    ...forNode,
    metafile: true,
    entryPoints: ['dist/src/cli/main.js', ...filesBelow('dist/src', ['-worker.js']), 'node_modules/piscina/dist/worker.js'],
    entryNames: '[name]',
    outdir: `${tree}/dist/src/cli`,
    format: 'esm',
    splitting: true,
    external: ['@napi-rs/nice'], // which piscina does without
    banner: {
      // For packages that are CommonJS.
      js: `import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url), __dirname = import.meta.dirname;`,
    },
  });
  // Loaded by name, at the moment of their first use.
  const packages = packagesOf(metafile);
  for (const name of ['pino', 'yaml']) {
    const { metafile } = await build({
      ...forNode,
      metafile: true,
      entryPoints: [name],
      outfile: `${tree}/node_modules/${name}/index.js`,
      format: 'cjs',
    });
    packages.push(...packagesOf(metafile));
  }
  return packages;
}

/** What the program looks for below the folder of its package.json. */
async function makeTree(node, version) {
  rmSync(tree, { recursive: true, force: true });
  const packages = await bundleProgram();
  collectPrebuilds(`${tree}/prebuilds/${os}-${arch}`, { os, arch, addon, abis: [nodeAbi] });
  for (const path of ['models/guide', 'dist/page/index.html.gz', 'bench/perplexity.txt'])
    cpSync(path, join(tree, path), { recursive: true });
  writeLicences(`${tree}/LICENSES.txt`, [...new Set([...packages, ...inPage, ...inPrebuilds]), dirname(dirname(node)), '.']);
  writeFileSync(`${tree}/package.json`, JSON.stringify({ name: 'lockstep', version, type: 'module' }));
  // A program that is no module starts the one that is.
  writeFileSync(`${tree}/start.cjs`, "import('./dist/src/cli/main.js');\n");
}

/** Bytes that Node finds behind itself: the first program and the tree, a file an asset, compressed. */
async function makeBlob(node, version) {
  const blob = `${work}/lockstep.blob`;
  await build({ ...forNode, entryPoints: ['dist/src/cli/executable/main.js'], outfile: `${work}/main.cjs`, format: 'cjs' });
  mkdirSync(`${work}/assets`, { recursive: true });
  const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const assets = { 'contents.json': `${work}/contents.json` };
  const files = filesBelow(tree, ['']).map((file, i) => {
    const [path, bytes] = [relative(tree, file), readFileSync(file)];
    assets[path] = `${work}/assets/${i}.gz`;
    writeFileSync(assets[path], gzipSync(bytes, { level: 9 }));
    return { path, size: bytes.length, digest: sha256(bytes) };
  });
  writeFileSync(`${work}/contents.json`, JSON.stringify({ version, digest: sha256(JSON.stringify(files)).slice(0, 32), files }));
  const config = { main: `${work}/main.cjs`, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true, assets };
  writeFileSync(`${work}/config.json`, JSON.stringify(config));
  if (run(node, ['--experimental-sea-config', `${work}/config.json`]) !== 0) stopWith('Node could not put the files together; see above');
  return readFileSync(blob);
}

mkdirSync(work, { recursive: true });
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const node = officialNode();
say('bundling …');
await makeTree(node, version);
const blob = await makeBlob(node, version);
const unfinished = `${work}/lockstep`;
copyFileSync(node, unfinished);
if (run('strip', [unfinished]) !== 0) stopWith('the names of functions could not be removed from it; see above');
console.warn = () => {}; // of the notes that postject does not know, on every binary of Node
await inject(unfinished, 'NODE_SEA_BLOB', blob, { sentinelFuse: 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2' });
chmodSync(unfinished, 0o755);
mkdirSync(dirname(product), { recursive: true });
renameSync(unfinished, product);
copyFileSync(`${tree}/LICENSES.txt`, `${dirname(product)}/LICENSES.txt`);
const { size } = statSync(product);
if (size > bytesMax) stopWith(`${product} has ${size} bytes, more than ${bytesMax}`);
say(`built ${product}, ${(size / 1e6).toFixed(1)} MB`);
