/** The tools that a build needs, and what to do where one is missing. Built-ins of Node only. */
import { spawnSync } from 'node:child_process';

const tools = {
  node: { name: 'Node.js 20.19 or newer', apt: 'nodejs', dnf: 'nodejs', brew: 'node', note: 'or from nodejs.org' },
  compiler: { name: 'a C++17 compiler', apt: 'g++', dnf: 'gcc-c++', brew: 'llvm', note: 'or on macOS: xcode-select --install' },
  cmake: {
    name: 'CMake 3.22 or newer',
    apt: 'cmake',
    dnf: 'cmake',
    brew: 'cmake',
    note: 'or, where the packaged one is older: pip install cmake',
  },
  make: { name: 'make or ninja', apt: 'make', dnf: 'make', brew: 'ninja', note: '' },
};

/** Ends the program with a line on stderr. */
export function stopWith(message) {
  process.stderr.write(`lockstep: ${message}\n`);
  process.exit(1);
}

function howToInstall(keys) {
  const packages = (manager) => keys.map((key) => tools[key][manager]).join(' ');
  const notes = keys.map((key) => tools[key].note).filter(Boolean);
  return [
    `  Debian, Ubuntu:  sudo apt-get install -y ${packages('apt')}`,
    `  Fedora:          sudo dnf install -y ${packages('dnf')}`,
    `  macOS:           brew install ${packages('brew')}`,
    ...notes.map((note) => `  ${note}`),
  ].join('\n');
}

function stopForMissing(missing) {
  const names = missing.map(({ key, found }) => `${tools[key].name} (found: ${found ?? 'none'})`).join(', ');
  stopWith(`missing: ${names}. To install:\n${howToInstall(missing.map(({ key }) => key))}`);
}

/** Whether version a.b of `text` (the first number in it) is at least major.minor. */
function isAtLeast(text, major, minor) {
  const [a, b] = (/(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  return a > major || (a === major && b >= minor);
}

export function checkNode() {
  if (!isAtLeast(process.version, 20, 19)) stopForMissing([{ key: 'node', found: process.version }]);
}

/** The first line that `program --version` prints, or null when it does not run. */
function versionLine(program) {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : null;
}

const probe = '#include <optional>\n#include <string_view>\nint main() { if constexpr (sizeof(std::optional<int>) > 1) return 0; }\n';

function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
  for (const compiler of candidates) {
    const args = ['-std=c++17', '-fsyntax-only', '-x', 'c++', '-'];
    if (spawnSync(compiler, args, { input: probe, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0) return { works: true };
  }
  return { works: false, found: candidates.map(versionLine).find(Boolean) };
}

/** Compiler, CMake and make or ninja; stops with the command that installs what is missing. */
export function checkBuildTools() {
  const missing = [];
  const compiler = findCompiler();
  if (!compiler.works) missing.push({ key: 'compiler', found: compiler.found });
  const cmake = versionLine('cmake');
  if (cmake === null || !isAtLeast(cmake, 3, 22)) missing.push({ key: 'cmake', found: cmake });
  if (versionLine('ninja') === null && versionLine('make') === null) missing.push({ key: 'make' });
  if (missing.length > 0) stopForMissing(missing);
}
