/** `npm run lint [-- --fix]`: biome over the TypeScript and the scripts, clang-format over native/. */
import { spawnSync } from 'node:child_process';
import { filesBelow, installPackages, run, say } from './prepare.mjs';

/** Versions of clang-format disagree on details; only this one's opinion counts. `pip install clang-format==18.1.8` has it. */
const clangFormatMajor = 18;

const fix = process.argv.includes('--fix');
installPackages();
let failures = run('node_modules/.bin/biome', ['check', '--error-on-warnings', ...(fix ? ['--write'] : []), '.']) === 0 ? 0 : 1;

const version = spawnSync('clang-format', ['--version'], { encoding: 'utf8' }).stdout ?? '';
if (Number(/version (\d+)/.exec(version)?.[1]) !== clangFormatMajor) {
  const found = version.trim() === '' ? 'none' : version.trim();
  say(`native/ was not checked: it takes clang-format ${clangFormatMajor} (found: ${found}); pip install clang-format==18.1.8`);
  if (process.env.CI) failures++;
} else {
  const files = filesBelow('native', ['.h', '.cpp', '.cu', '.cuh']);
  if (run('clang-format', [...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...files]) !== 0) failures++;
}
process.exit(failures === 0 ? 0 : 1);
