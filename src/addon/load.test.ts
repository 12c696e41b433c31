/** What is said when the addon is not there or cannot be loaded. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LockstepError } from '../errors.js';
import { addonPath, openAddon, remedyFor } from './load.js';

const refused = (text: RegExp) => (error: unknown) => error instanceof LockstepError && error.code === 'start' && text.test(error.message);

test('an addon that is not built is a start error with the command that builds it', () => {
  assert.throws(() => openAddon('/nowhere/lockstep_native.node'), refused(/not built: there is no \/nowhere\/.*npm run build/));
});

test('a file that is no addon is a start error with the reason', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-addon-'));
  try {
    writeFileSync(join(folder, 'lockstep_native.node'), 'no library');
    assert.throws(() => openAddon(join(folder, 'lockstep_native.node')), refused(/does not load: .*npm run build/));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the addon needs no library of a GPU to load', { skip: process.platform !== 'linux' }, () => {
  const needed = execFileSync('ldd', [addonPath()], { encoding: 'utf8' });
  assert.match(needed, /libc\.so/);
  assert.doesNotMatch(needed, /libcuda|libcublas|libnccl/);
});

test('an old glibc and a file system without programs are named with their remedies', () => {
  assert.match(remedyFor("/lib/libc.so.6: version `GLIBC_2.34' not found (required by /a.node)"), /glibc 2\.34 or later.*npm run build/);
  assert.match(
    remedyFor("/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /a.node)"),
    /for libstdc\+\+ 3\.4\.30 or later/,
  );
  assert.match(remedyFor('/a.node: failed to map segment from shared object'), /noexec: LOCKSTEP_CACHE/);
});
