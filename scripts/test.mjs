/**
 * `npm test [-- FILTER … | node's own --test flags]`: builds, runs the native test program, then every compiled test file.
 * A filter is a part of a path: `npm test -- scheduler`. Suites that read files outside the repository run only when a filter names them.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildNativeTests, filesBelow, prepare, run, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

/** These compare with recorded answers and real models that are not part of the repository; `.ci/run` names them. */
const outsideSuites = ['test/parity/', 'test/recorded/'];
const fileTimeoutMs = 540_000;

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'));
const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));

prepare();
if (filters.length === 0 || filters.some((filter) => 'native/test'.includes(filter))) {
  const program = buildNativeTests();
  if (run(program, []) !== 0) stopWith('the native tests failed; see above');
  if (filters.length > 0) process.exit(0);
}

const sources = ['src', 'test', 'bench'].flatMap((folder) => filesBelow(folder, ['.test.ts']));
const isWanted = (file) =>
  filters.length > 0 ? filters.some((filter) => file.includes(filter)) : !outsideSuites.some((suite) => file.startsWith(suite));
const files = sources.filter(isWanted).map((file) => join('dist', file.replace(/\.ts$/, '.js')));
if (files.length === 0) stopWith(`no test file matches ${filters.join(' ')}`);
if (filters.length === 0) say(`left out: ${outsideSuites.join(', ')} (npm test -- ${outsideSuites[0]} runs them)`);

const concurrency = Math.min(4, availableParallelism());
const status = run(process.execPath, [
  '--enable-source-maps',
  '--test',
  '--test-reporter=spec',
  `--test-concurrency=${concurrency}`,
  `--test-timeout=${fileTimeoutMs}`,
  ...flags,
  ...files.filter((file) => existsSync(file)),
]);
process.exit(status);
