/**
 * `npm test [-- FILTER … | node's own --test flags]`: builds, runs the native test program, then every compiled test file.
 * A filter is a part of a path, as in `npm test -- scheduler`; `native` is the native program; `!emulated` leaves out what has that in its
 * path. Unless a filter asks for something nothing outside the repository is read: tests that compare with ../shared say that they skip;
 * where one does they run where it is there.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildEmulatedGpuCheck, buildNativePrograms, filesBelow, nativeTest, prepare, run } from './prepare.mjs';
import { stopWith } from './tools.mjs';

const fileTimeoutMs = 540_000;

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'));
const leftOut = process.argv.slice(2).flatMap((arg) => (arg.startsWith('!') ? [arg.slice(1)] : []));
const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('-') && !arg.startsWith('!'));
const isWanted = (path) =>
  (filters.length === 0 || filters.some((word) => path.includes(word))) && !leftOut.some((word) => path.includes(word));

prepare();
if ((filters.length === 0 || filters.includes('native')) && !leftOut.includes('native')) {
  buildNativePrograms();
  if (run(nativeTest, []) !== 0) stopWith('the native tests failed; see above');
  if (filters.length === 1) process.exit(0);
}

const sources = ['src', 'test', 'bench'].flatMap((folder) => filesBelow(folder, ['.test.ts']));
const files = sources.filter(isWanted).map((file) => join('dist', file.replace(/\.ts$/, '.js')));
if (files.length === 0) stopWith(`no test file matches ${filters.join(' ')}`);

if (files.some((file) => file.includes('emulated'))) buildEmulatedGpuCheck(); // and the addon

const concurrency = Math.min(4, availableParallelism());
const args = [
  '--enable-source-maps',
  '--test',
  '--test-reporter=spec',
  `--test-concurrency=${concurrency}`,
  `--test-timeout=${fileTimeoutMs}`,
];
// What servers keep between starts is no business of the user's cache; and a GPU of this machine is none of the tests', which emulate theirs.
const env = {
  LOCKSTEP_CACHE: 'build/test-cache',
  LOCKSTEP_DEVICE: 'cpu',
  ...process.env,
  ...(filters.length === 0 ? { LOCKSTEP_NO_SHARED: '1' } : {}),
};
process.exit(run(process.execPath, [...args, ...flags, ...files], { env }));
