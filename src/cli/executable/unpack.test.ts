import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import { LockstepError } from '../../errors.js';
import { unpack } from './unpack.js';

const name = 'digest.lockstep-executable';
/** Also told to other processes, as text. */
const carried = (path: string, bytes: Buffer) => ({
  path,
  size: bytes.length,
  digest: createHash('sha256').update(bytes).digest('hex'),
  bytes: () => bytes,
});
const files = [carried('prebuilds/addon.node', Buffer.alloc(300_000, 7)), carried('package.json', Buffer.from('{}'))];

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'lockstep-unpack-'));
});
afterEach(() => rmSync(place, { recursive: true }));

const contentsOf = (folder: string) => files.map(({ path }) => readFileSync(join(folder, path)));
const wanted = files.map(({ bytes }) => bytes());
const refused = (text: RegExp) => (error: unknown) => error instanceof LockstepError && error.code === 'start' && text.test(error.message);

test('files lie whole in a folder of the user alone, and a second start leaves them as they are', () => {
  const { folder } = unpack(files, name, [join(place, 'cache')]);
  assert.equal(folder, join(place, 'cache', name));
  assert.deepEqual(contentsOf(folder), wanted);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  const written = () => files.map(({ path }) => statSync(join(folder, path)).ino);
  const before = written();
  assert.deepEqual(unpack(files, name, [join(place, 'cache')]).refused, []);
  assert.deepEqual(written(), before);
});

test('a file that was changed, cut short, removed or made a link is put right', () => {
  const { folder } = unpack(files, name, [place]);
  const path = join(folder, files[0]!.path);
  const spoil = [
    () => writeFileSync(path, new Uint8Array(300_000).fill(8)),
    () => writeFileSync(path, ''),
    () => rmSync(path),
    () => {
      rmSync(path);
      writeFileSync(join(place, 'elsewhere'), files[0]!.bytes());
      symlinkSync(join(place, 'elsewhere'), path);
    },
  ];
  for (const change of spoil) {
    change();
    unpack(files, name, [place]);
    assert.deepEqual(contentsOf(folder), wanted);
  }
  assert.equal(readdirSync(join(folder, 'prebuilds')).length, 1, 'and nothing stays beside it');
});

test('what a crash left half-written is removed, what is being written is not', () => {
  const { folder } = unpack(files, name, [place]);
  const [old, young] = ['old.partial', 'young.partial'].map((partial) => join(folder, partial));
  for (const path of [old!, young!]) writeFileSync(path, 'half');
  utimesSync(old!, 0, 0);
  rmSync(join(folder, 'package.json'));
  unpack(files, name, [place]);
  assert.deepEqual(readdirSync(folder).sort(), ['package.json', 'prebuilds', 'young.partial']);
});

test('a folder that others can write to, or have made, is refused with what to do', () => {
  const folder = join(place, name);
  mkdirSync(folder);
  chmodSync(folder, 0o770);
  assert.throws(
    () => unpack(files, name, [place, tmpdir()]),
    refused(/is open to other users \(mode 770\): remove it, or let LOCKSTEP_CACHE/),
  );
  assert.deepEqual(readdirSync(folder), [], 'nothing was put there');
  rmSync(folder, { recursive: true });
  mkdirSync(join(place, 'real'), { mode: 0o700 });
  symlinkSync(join(place, 'real'), folder);
  assert.throws(() => unpack(files, name, [place]), refused(/is no folder: remove it/));
});

test('a folder of another user is refused', { skip: process.geteuid?.() !== 0 && 'only root can make one' }, () => {
  mkdirSync(join(place, name), { mode: 0o700 });
  lchownSync(join(place, name), 65534, 65534);
  assert.throws(() => unpack(files, name, [place]), refused(/belongs to another user \(uid 65534\): remove it/));
});

test('where the first place cannot be written the next is taken, and where none can the error names all', () => {
  const file = join(place, 'file');
  writeFileSync(file, '');
  const { folder, refused: reasons } = unpack(files, name, [file, place]);
  assert.equal(folder, join(place, name));
  assert.match(reasons.join(), /^E(NOTDIR|EXIST).*file/);
  assert.throws(() => unpack(files, name, [file]), refused(/^the 1 MB of files .* cannot be put anywhere: E\w+: .*LOCKSTEP_CACHE names/));
});

test('ten starts at once', async () => {
  const module = new URL('./unpack.js', import.meta.url).href;
  const program = `
    const { unpack } = await import(${JSON.stringify(module)});
    const { createHash } = await import('node:crypto');
    const carried = ${carried};
    const files = Array.from({ length: 20 }, (_, i) => carried(i % 2 + '/' + i, Buffer.alloc(400_000, i)));
    const { folder } = unpack(files, 'ten', [process.argv[1]]);
    const { readFileSync } = await import('node:fs');
    for (const { path, bytes } of files) if (!readFileSync(folder + '/' + path).equals(bytes())) throw new Error(path);`;
  const start = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, place]);
  await Promise.all(Array.from({ length: 10 }, start));
  const left = readdirSync(join(place, 'ten'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  assert.equal(left.length, 20);
});
