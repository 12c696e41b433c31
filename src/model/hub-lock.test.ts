import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLock } from './hub-lock.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'blob.lock');

test('two downloads of one file follow each other', async () => {
  const seen: string[] = [];
  const work = (name: string) => () =>
    withLock(
      path,
      () => seen.push(`${name} waits`),
      async () => {
        seen.push(`${name} in`);
        await sleep(20);
        seen.push(`${name} out`);
      },
    );
  await Promise.all([work('a')(), work('b')()]);
  assert.deepEqual(seen, ['a in', 'b waits', 'a out', 'b in', 'b out']);
  assert.ok(!existsSync(path));
});

test('the lock is given back when the work fails', async () => {
  await assert.rejects(
    withLock(path, assert.fail, async () => Promise.reject(new Error('broken'))),
    /broken/,
  );
  assert.ok(!existsSync(path));
});

test('the lock of a process that is gone is taken over', async () => {
  // Process ids end at 2^22 on Linux.
  writeFileSync(path, `${hostname()} 4999999`);
  assert.equal(
    await withLock(
      path,
      () => {},
      async () => 7,
    ),
    7,
  );
});
