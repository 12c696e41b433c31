import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheEntries, cacheFolder, clearCache, DiskCache } from './disk-cache.js';

const root = mkdtempSync(join(tmpdir(), 'lockstep-cache-'));
after(() => rmSync(root, { recursive: true }));

let made = 0;
function open(bytesMax = 1000, folder = join(root, `${made++}`, 'cache')) {
  const said: string[] = [];
  const logger = { info: (line: unknown) => said.push(String(line)), warn: (line: unknown) => said.push(String(line)) };
  return { cache: new DiskCache({ folder, bytesMax, logger }), folder, said };
}
const bytes = (count: number, value = 1) => new Uint8Array(count).fill(value);
const names = (folder: string) => readdirSync(folder).sort();

test('an entry is kept under its name, and nothing else is left', async () => {
  const { cache, folder, said } = open();
  const path = cache.pathOf('weights', 'abc');
  await cache.storeBytes(path, [bytes(2), bytes(3, 7)]);
  assert.deepEqual([...readFileSync(path)], [1, 1, 7, 7, 7]);
  assert.deepEqual(names(folder), ['abc.lockstep-weights']);
  assert.deepEqual(said, []);
});

test('the least recently used go first when there is no room', async () => {
  const { cache, folder } = open(100);
  const paths = ['a', 'b', 'c'].map((name) => cache.pathOf('weights', name));
  for (const [i, path] of paths.entries()) {
    await cache.storeBytes(path, [bytes(30)]);
    utimesSync(path, 1000 + i, 1000 + i);
  }
  cache.used(paths[0]!);
  await cache.storeBytes(cache.pathOf('tokenizer', 'd'), [bytes(40)]);
  assert.deepEqual(names(folder), ['a.lockstep-weights', 'c.lockstep-weights', 'd.lockstep-tokenizer']);
  assert.deepEqual(
    cacheEntries(folder).map(({ path, bytes }) => [path.at(-1), bytes]),
    [
      ['s', 30],
      ['s', 30],
      ['r', 40],
    ],
  );
});

test('what is larger than the cache is not kept, and nothing is removed for it', async () => {
  const { cache, folder, said } = open(100);
  await cache.storeBytes(cache.pathOf('weights', 'a'), [bytes(60)]);
  await cache.storeBytes(cache.pathOf('weights', 'b'), [bytes(101)]);
  assert.deepEqual(names(folder), ['a.lockstep-weights']);
  assert.match(said.join(), /not kept/);
});

test('a disk that is full, a folder that cannot be: one warning, no half-written file', async () => {
  const { cache, folder, said } = open();
  const full = async (temporary: string) => {
    writeFileSync(temporary, bytes(5));
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  };
  await cache.store(cache.pathOf('weights', 'a'), 10, full);
  await cache.store(cache.pathOf('weights', 'a'), 10, full);
  assert.deepEqual(names(folder), []);
  assert.equal(said.length, 1);
  assert.match(said[0]!, /nothing is kept for the next start: ENOSPC/);

  const file = join(root, 'a-file');
  writeFileSync(file, '');
  const nowhere = open(1000, join(file, 'cache'));
  await nowhere.cache.storeBytes(nowhere.cache.pathOf('weights', 'a'), [bytes(1)]);
  nowhere.cache.used(nowhere.cache.pathOf('weights', 'a'));
  nowhere.cache.damaged(nowhere.cache.pathOf('weights', 'a'), 'x');
  assert.match(nowhere.said[0]!, /^nothing is kept for the next start: ENOTDIR/);
});

test('a read-only folder is read and not written', { skip: process.getuid?.() === 0 && 'root may write everywhere' }, async () => {
  const { cache, folder, said } = open();
  const path = cache.pathOf('weights', 'a');
  await cache.storeBytes(path, [bytes(4)]);
  chmodSync(folder, 0o555);
  cache.used(path);
  await cache.storeBytes(cache.pathOf('weights', 'b'), [bytes(4)]);
  chmodSync(folder, 0o755);
  assert.deepEqual(names(folder), ['a.lockstep-weights']);
  assert.match(said.join(), /nothing is kept for the next start: EACCES/);
});

test('a damaged entry is named, removed and made anew', async () => {
  const { cache, said } = open();
  const path = cache.pathOf('weights', 'a');
  await cache.storeBytes(path, [bytes(4)]);
  cache.damaged(path, 'its header is damaged');
  assert.ok(!existsSync(path));
  assert.match(said.join(), /a\.lockstep-weights is damaged \(its header is damaged\): it is made anew/);
  await cache.storeBytes(path, [bytes(4)]);
  assert.equal(statSync(path).size, 4);
});

test('what a crash left half-written goes; what another start is writing stays, and is not written twice', async () => {
  const { cache, folder } = open();
  mkdirSync(folder, { recursive: true });
  const dead = 2 ** 22 + 1; // above the largest process id
  const path = cache.pathOf('weights', 'a');
  writeFileSync(`${path}.${dead}.partial`, 'half');
  await cache.storeBytes(path, [bytes(4)]);
  assert.deepEqual(names(folder), ['a.lockstep-weights']);

  const other = cache.pathOf('weights', 'b');
  writeFileSync(`${other}.${process.ppid}.partial`, 'half');
  await cache.storeBytes(other, [bytes(4)]);
  assert.deepEqual(names(folder), ['a.lockstep-weights', `b.lockstep-weights.${process.ppid}.partial`]);
  utimesSync(`${other}.${process.ppid}.partial`, 1000, 1000);
  await cache.storeBytes(other, [bytes(4)]);
  assert.deepEqual(names(folder), ['a.lockstep-weights', 'b.lockstep-weights']);
});

test('ten starts at once store one whole entry', async () => {
  const folder = join(root, 'ten');
  const script = `
    const { DiskCache } = await import(${JSON.stringify(fileURLToPath(new URL('./disk-cache.js', import.meta.url)))});
    const logger = { info: console.log, warn: console.log };
    const cache = new DiskCache({ folder: ${JSON.stringify(folder)}, bytesMax: 1e9, logger });
    await cache.storeBytes(cache.pathOf('weights', 'a'), Array.from({ length: 64 }, (_, i) => new Uint8Array(65536).fill(i)));`;
  const start = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  const outputs = await Promise.all(Array.from({ length: 10 }, start));
  assert.equal(outputs.map(({ stdout, stderr }) => stdout + stderr).join(''), '');
  assert.deepEqual(names(folder), ['a.lockstep-weights']);
  const stored = readFileSync(join(folder, 'a.lockstep-weights'));
  assert.equal(stored.length, 64 * 65536);
  for (let i = 0; i < 64; i++) assert.equal(stored[i * 65536 + 1234], i);
});

test('clearing removes entries and halves, and no other file', async () => {
  const { cache, folder } = open();
  await cache.storeBytes(cache.pathOf('weights', 'a'), [bytes(4)]);
  writeFileSync(join(folder, 'a.lockstep-weights.1.partial'), '');
  writeFileSync(join(folder, 'mine'), '');
  mkdirSync(join(folder, 'a.lockstep-executable', 'dist'), { recursive: true });
  writeFileSync(join(folder, 'a.lockstep-executable', 'dist', 'main.js'), bytes(3));
  assert.equal(clearCache(folder), 7, 'with what an executable that is not running had unpacked');
  assert.deepEqual(names(folder), ['mine']);
  assert.equal(clearCache(join(folder, 'absent')), 0);
});

test('the folder is asked of the environment', () => {
  assert.equal(cacheFolder({ LOCKSTEP_CACHE: '/a', XDG_CACHE_HOME: '/b', HOME: '/c' }), '/a');
  assert.equal(cacheFolder({ XDG_CACHE_HOME: '/b', HOME: '/c' }), '/b/lockstep');
  assert.equal(cacheFolder({ HOME: '/c' }), '/c/.cache/lockstep');
  assert.equal(cacheFolder({}), null);
});
