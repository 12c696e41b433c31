/**
 * The image of the Dockerfile without a container engine: Debian's C and C++ libraries, the executable and what it unpacks, as an OCI archive that
 * `docker load`, `podman load` and skopeo take. It wants Debian's apt-get and dpkg, and no rights. Its name is lockstep-cuda where the executable has
 * CUDA code, else lockstep-cpu.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

const packages = ['libc6', 'libstdc++6', 'libgcc-s1', 'gcc-12-base'];
/** Who runs in it, as in distroless images. */
const user = 65532;
const unpackedBytesMax = 200e6;

const executable = process.argv[2] ?? 'dist/lockstep';
const product = `${executable}-image.tar`;
const work = 'build/image';
const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch];

function must(program, args, options = {}) {
  if (run(program, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options }) !== 0) stopWith(`${program} failed; see above`);
}

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Debian's libraries, without what only other programs read, and the files that say who there is. */
function makeSystem(root) {
  const downloads = `${work}/packages`;
  mkdirSync(downloads, { recursive: true });
  mkdirSync(`${root}/etc`, { recursive: true });
  // With Debian's merged /usr, whatever the packages say.
  mkdirSync(`${root}/usr`);
  for (const name of ['bin', 'lib', 'lib64']) {
    mkdirSync(`${root}/usr/${name}`);
    symlinkSync(`usr/${name}`, `${root}/${name}`);
  }
  must('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', ...packages], { cwd: downloads });
  for (const name of readdirSync(downloads)) {
    // `dpkg -x` would make folders of the links above.
    const extract = `dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"`;
    must('sh', ['-c', extract, join(downloads, name), root]);
  }
  for (const path of ['share/locale', 'share/lintian', `lib/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu/gconv`])
    rmSync(`${root}/usr/${path}`, { recursive: true, force: true });
  writeFileSync(
    `${root}/etc/passwd`,
    `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${user}:${user}:nonroot:/home/nonroot:/sbin/nologin\n`,
  );
  writeFileSync(`${root}/etc/group`, `root:x:0:\nnonroot:x:${user}:\n`);
  writeFileSync(`${root}/etc/nsswitch.conf`, 'passwd: files\ngroup: files\nhosts: files dns\n');
}

function makeProgram(root) {
  mkdirSync(`${root}/usr/bin`, { recursive: true });
  copyFileSync(executable, `${root}/usr/bin/lockstep`);
}

const hasCuda = () => /^ +CUDA +runtime \d/m.test(execFileSync(executable, ['doctor'], { encoding: 'utf8' }));

/** What NVIDIA's container runtime is asked for: all devices that the container is given, and the driver's library for computing. */
const forNvidia = ['NVIDIA_VISIBLE_DEVICES=all', 'NVIDIA_DRIVER_CAPABILITIES=compute,utility'];

/** What belongs to the user: a home, and the cache with what the executable would unpack. */
function makeHome(root) {
  const cache = `${root}/var/cache/lockstep`;
  mkdirSync(`${root}/home/nonroot`, { recursive: true });
  mkdirSync(cache, { recursive: true });
  must(executable, ['doctor'], { env: { ...process.env, LOCKSTEP_CACHE: cache } });
  // Its name ends in the id of the user who may use it.
  for (const name of readdirSync(cache)) renameSync(join(cache, name), join(cache, name.replace(/-\d+\.(?=[^.]+$)/, `-${user}.`)));
}

/** An archive of `paths` below `root` whose bytes depend on the files alone. */
function layerOf(root, owner, paths) {
  const archive = `${work}/layer.tar`;
  const stamps = ['--sort=name', '--mtime=@0', '--numeric-owner', `--owner=${owner}`, `--group=${owner}`];
  must('tar', ['-C', root, ...stamps, '--format=posix', '--pax-option=delete=atime,delete=ctime', '-cf', archive, ...paths]);
  return readFileSync(archive);
}

function writeBlob(folder, bytes, mediaType) {
  const hash = digest(bytes);
  writeFileSync(`${folder}/blobs/sha256/${hash}`, bytes);
  return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
}

const json = (value) => Buffer.from(JSON.stringify(value));

/** The folder of an OCI image: its layers, their configuration, and the manifest that names both. */
function writeImage(folder, layers, version) {
  const isCuda = hasCuda();
  mkdirSync(`${folder}/blobs/sha256`, { recursive: true });
  const second = 1e9; // in nanoseconds
  const configuration = {
    architecture,
    os: 'linux',
    config: {
      User: `${user}:${user}`,
      Env: ['PATH=/usr/bin', 'HOME=/home/nonroot', 'LOCKSTEP_CACHE=/var/cache/lockstep', ...(isCuda ? forNvidia : [])],
      WorkingDir: '/home/nonroot',
      ExposedPorts: { '8000/tcp': {} },
      Entrypoint: ['/usr/bin/lockstep', 'serve'],
      Healthcheck: { Test: ['CMD', '/usr/bin/lockstep', 'health'], StartPeriod: 120 * second, Interval: 10 * second },
      Labels: { 'org.opencontainers.image.version': version, 'org.opencontainers.image.licenses': 'Apache-2.0' },
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${digest(layer)}`) },
    history: layers.map(() => ({ created_by: 'scripts/image' })),
  };
  const type = (name) => `application/vnd.oci.image.${name}`;
  const manifest = {
    schemaVersion: 2,
    mediaType: type('manifest.v1+json'),
    config: writeBlob(folder, json(configuration), type('config.v1+json')),
    layers: layers.map((layer) => writeBlob(folder, gzipSync(layer), type('layer.v1.tar+gzip'))),
  };
  const name = `${isCuda ? 'lockstep-cuda' : 'lockstep-cpu'}:${version}`;
  const named = { 'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name };
  const entry = { ...writeBlob(folder, json(manifest), manifest.mediaType), annotations: named, platform: { architecture, os: 'linux' } };
  writeFileSync(`${folder}/index.json`, json({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(`${folder}/oci-layout`, json({ imageLayoutVersion: '1.0.0' }));
  return name;
}

if (!existsSync(executable)) stopWith(`there is no ${executable}: run \`npm run build:executable\``);
rmSync(work, { recursive: true, force: true });
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
say('putting the image together …');
const parts = [
  { make: makeSystem, owner: 0, paths: ['bin', 'etc', 'lib', 'lib64', 'usr'] },
  { make: makeProgram, owner: 0, paths: ['usr/bin/lockstep'] },
  { make: makeHome, owner: user, paths: ['home/nonroot', 'var/cache/lockstep'] },
];
const layers = parts.map(({ make, owner, paths }, at) => {
  const root = `${work}/${at}`;
  mkdirSync(root, { recursive: true });
  make(root);
  return layerOf(root, owner, paths);
});
const size = layers.reduce((sum, { length }) => sum + length, 0);
if (size > unpackedBytesMax) stopWith(`the image has ${size} bytes unpacked, more than ${unpackedBytesMax}`);
const name = writeImage(`${work}/oci`, layers, version);
must('tar', ['-C', `${work}/oci`, '-cf', product, 'blobs', 'index.json', 'oci-layout']);
say(`built ${product}, ${name}: ${(size / 1e6).toFixed(0)} MB unpacked`);
