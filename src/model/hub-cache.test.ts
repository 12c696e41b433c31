import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { cachedModels, hubCache, removeModel, repoFolder } from './hub-cache.js';

const cache = mkdtempSync(join(tmpdir(), 'lockstep-hub-cache-'));
after(() => rmSync(cache, { recursive: true }));

/** As a download leaves it: blobs, a snapshot of links to them, a ref. */
function addModel(repo: string, sizes: readonly number[]): string {
  const folder = repoFolder(cache, repo);
  const snapshot = join(folder, 'snapshots', 'c0ffee');
  for (const path of [join(folder, 'blobs'), join(folder, 'refs', 'pr'), snapshot]) mkdirSync(path, { recursive: true });
  for (const [i, size] of sizes.entries()) {
    writeFileSync(join(folder, 'blobs', `b${i}`), Buffer.alloc(size));
    symlinkSync(join('..', '..', 'blobs', `b${i}`), join(snapshot, `file${i}`));
  }
  writeFileSync(join(folder, 'refs', 'main'), 'c0ffee');
  writeFileSync(join(folder, 'refs', 'pr', '1'), 'c0ffee');
  return folder;
}

const isStart = (pattern: RegExp) => (error: unknown) =>
  error instanceof LockstepError && error.code === 'start' && pattern.test(error.message);

test('where the cache is', () => {
  assert.equal(hubCache({ HF_HUB_CACHE: '/a', HF_HOME: '/b' }), '/a');
  assert.equal(hubCache({ HF_HOME: '/b', XDG_CACHE_HOME: '/c' }), '/b/hub');
  assert.equal(hubCache({ XDG_CACHE_HOME: '/c' }), '/c/huggingface/hub');
});

test('models are listed with what they take, each blob once, and what is not whole', () => {
  assert.deepEqual(cachedModels(join(cache, 'none')), []);
  addModel('owner/two', [1000, 24]);
  const partial = addModel('gpt2', [5]);
  writeFileSync(join(partial, 'blobs', 'b9.incomplete'), 'abc');
  mkdirSync(join(cache, 'datasets--a--b'));
  writeFileSync(join(cache, 'version.txt'), '1');
  utimesSync(join(partial, 'blobs', 'b9.incomplete'), 4e9, 4e9);
  const models = cachedModels(cache);
  assert.deepEqual(
    models.map(({ repo, bytes, revisions, isPartial }) => ({ repo, bytes, revisions, isPartial })),
    [
      { repo: 'gpt2', bytes: 8, revisions: ['main', 'pr/1'], isPartial: true },
      { repo: 'owner/two', bytes: 1024, revisions: ['main', 'pr/1'], isPartial: false },
    ],
  );
  assert.equal(models[0]?.changedMs, 4e12);
});

test('one is removed, the others stay; not while somebody downloads it, nor what is none', () => {
  const folder = addModel('owner/gone', [10]);
  const lock = join(folder, 'blobs', 'b0.lock');
  writeFileSync(lock, `${hostname()} ${process.pid}`);
  assert.throws(() => removeModel(cache, 'owner/gone'), isStart(/is being downloaded by process/));
  writeFileSync(lock, `${hostname()} 999999999`); // no such process
  assert.equal(removeModel(cache, 'owner/gone'), 10 + `${hostname()} 999999999`.length);
  assert.ok(!existsSync(folder));
  assert.throws(() => removeModel(cache, 'owner/gone'), isStart(/is not in the cache/));
  assert.deepEqual(
    cachedModels(cache).map(({ repo }) => repo),
    ['gpt2', 'owner/two'],
  );
});
