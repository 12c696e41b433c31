import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { loadOptions } from './load-options.js';
import { listModels, pullModel, removeFromCache } from './models.js';
import { modelsListCommand, modelsPullCommand, modelsRemoveCommand } from './models-options.js';

const cache = mkdtempSync(join(tmpdir(), 'lockstep-models-'));
after(() => rmSync(cache, { recursive: true }));
const env = { HF_HUB_CACHE: cache, HF_HUB_OFFLINE: '1' };
const snapshot = join(cache, 'models--owner--name', 'snapshots', 'c0ffee');

const list = (argv: readonly string[] = []) => listModels(loadOptions(modelsListCommand, argv, {}), env);
const remove = (...argv: string[]) => removeFromCache(loadOptions(modelsRemoveCommand, argv, {}), env);
const pull = (...argv: string[]) => pullModel(loadOptions(modelsPullCommand, argv, {}), env, { write: () => {} });
const isStart = (pattern: RegExp) => (error: unknown) =>
  error instanceof LockstepError && error.code === 'start' && pattern.test(error.message);

test('list, pull and remove, from the environment or another folder', async () => {
  assert.equal(list(), `no models in ${cache}\n`);
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(join(snapshot, '..', '..', 'refs'));
  writeFileSync(join(snapshot, '..', '..', 'refs', 'main'), 'c0ffee');
  writeFileSync(join(snapshot, 'config.json'), '{}'.padEnd(2048));
  assert.match(list(), new RegExp(`^owner/name  2\\.0 KiB  \\d{4}-\\d\\d-\\d\\d  main\n2\\.0 KiB in ${cache}\n$`));
  assert.equal(list(['--download-dir', '/nowhere']), 'no models in /nowhere\n');
  assert.equal(await pull('owner/name'), snapshot);
  assert.equal(remove('owner/name'), 'owner/name removed: 2.0 KiB\n');
  assert.equal(list(), `no models in ${cache}\n`);
});

test('what is no model of the hub, or not there, is said', async () => {
  assert.throws(() => remove(), isStart(/MODEL is missing/));
  assert.throws(() => remove('../x'), isStart(/is not a Hugging Face model id/));
  assert.throws(() => remove('owner/name:Q4_K_M'), isStart(/removed as a whole: lockstep models remove owner\/name/));
  assert.throws(() => remove('owner/none'), isStart(/owner\/none is not in the cache/));
  assert.throws(() => pull('/some/folder'), isStart(/is not a Hugging Face model id/));
  await assert.rejects(pull('owner/none', '--revision', 'x'), isStart(/HF_HUB_OFFLINE forbids/));
});
