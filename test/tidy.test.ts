/**
 * What the layout promises, read from the source: who imports whom, that both step layouts agree, how long files are.
 * Every check is a function from source text to the list of what is wrong, and is shown here to find a wrong example.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as layout from '../src/step/layout.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

interface Source {
  readonly path: string; // relative to the repository
  readonly text: string;
}

function sourcesBelow(folder: string, endings: readonly string[]): Source[] {
  if (!existsSync(join(root, folder))) return [];
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)));
  const wanted = paths.filter((path) => endings.some((ending) => path.endsWith(ending))).sort();
  return wanted.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** A room may import what stands in its line, and nothing else; its tests also what `test/` has for all. `type:x` allows types only. */
const importLines: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  log: [],
  'event-stream': [],
  page: [],
  prebuilt: [],
  cache: ['log'],
  step: [],
  model: ['errors', 'log'],
  chat: ['errors', 'log'],
  parsing: [],
  metrics: ['errors', 'log'],
  tokenizer: ['model', 'cache', 'prebuilt', 'errors'],
  sampling: ['tokenizer', 'errors'],
  grammar: ['errors', 'parsing', 'type:tokenizer'],
  addon: ['prebuilt', 'errors', 'type:step', 'type:model'],
  scheduler: ['step', 'sampling', 'errors'],
  parallel: ['step', 'model', 'addon', 'type:grammar', 'cache', 'errors', 'log'],
  engine: ['scheduler', 'parallel', 'tokenizer', 'sampling', 'type:grammar', 'model', 'step', 'metrics', 'errors', 'log'],
  check: ['errors', 'event-stream', 'api'],
  api: ['cache', 'prebuilt', 'engine', 'chat', 'parsing', 'tokenizer', 'sampling', 'grammar', 'metrics', 'errors', 'log'],
};
const everyRoom = Object.keys(importLines);
const lineOf = (room: string): readonly string[] => {
  if (room === 'cli') return [...everyRoom, 'bench'];
  return room === 'bench' ? everyRoom : (importLines[room] ?? []);
};

/** src/api/server.ts -> api, src/errors.ts -> errors, bench/serve.ts -> bench */
function roomOf(path: string): string {
  const parts = path.split('/');
  return (parts[0] === 'src' ? (parts[1] ?? '') : (parts[0] ?? '')).replace(/\.ts$/, '');
}

/** Run by `npm run bench`, imported by nobody: such a program may start an engine as the commands do. */
const isBenchProgram = (path: string): boolean => /^bench\/\w+\/compare\.ts$/.test(path);

const importPattern = /^\s*(?:import|export)\s+(type\s)?[^'"]*?from\s+'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'|^import\s+'(\.[^']+)'/gm;

function wrongImports({ path, text }: Source): string[] {
  const room = roomOf(path);
  const wrong: string[] = [];
  for (const match of text.matchAll(importPattern)) {
    const file = normalize(join(dirname(path), match[2] ?? match[3] ?? match[4] ?? '')).replace(/\.js$/, '.ts');
    const target = roomOf(file);
    const isType = match[1] !== undefined;
    const line = isBenchProgram(path) ? [...lineOf(room), 'cli'] : lineOf(room);
    if (path.endsWith('.test.ts') && target === 'test') continue;
    if (isBenchProgram(file)) wrong.push(`${path}: nobody imports the program ${file}`);
    else if (target === room || line.includes(target) || (isType && line.includes(`type:${target}`))) continue;
    else wrong.push(`${path}: ${room} may not import ${isType ? 'types of ' : ''}${target}`);
  }
  return wrong;
}

test('rooms import only what stands in their line', () => {
  const sources = [...sourcesBelow('src', ['.ts', '.tsx']), ...sourcesBelow('bench', ['.ts'])];
  const unknown = sources.filter(({ path }) => !['cli', 'bench', ...everyRoom].includes(roomOf(path))).map(({ path }) => path);
  assert.deepEqual(unknown, [], 'a room without an import line');
  assert.deepEqual(sources.flatMap(wrongImports), []);
});

test('the import check finds a wrong import', () => {
  const check = (path: string, text: string) => wrongImports({ path, text }).length;
  assert.equal(check('src/scheduler/queue.ts', "import { serve } from '../api/server.js';"), 1);
  assert.equal(check('src/scheduler/queue.ts', "import {\n  a,\n  b,\n} from '../api/server.js';"), 1);
  assert.equal(check('src/model/hub.ts', "const a = await import('../engine/engine.js');"), 1);
  assert.equal(check('src/addon/binding.ts', "import { layOut } from '../step/layout.js';"), 1);
  assert.equal(check('src/addon/binding.ts', "import type { StepDims } from '../step/layout.js';"), 0);
  assert.equal(check('src/api/server.ts', "export * from '../cli/options.js';"), 1);
  assert.equal(check('bench/serve.ts', "import { startEngine } from '../src/cli/start-engine.js';"), 1);
  assert.equal(check('bench/peers/compare.ts', "import { startEngine } from '../../src/cli/start-engine.js';"), 0);
  assert.equal(check('src/cli/main.ts', "import '../../bench/peers/compare.js';"), 1);
  assert.equal(check('src/errors.ts', "import { log } from './log.js';"), 1);
});

/** Files that import each other, types included, in a round: none of them can be read alone. */
function importCircles(sources: readonly Source[]): string[] {
  const targets = new Map(
    sources.map(({ path, text }): [string, string[]] => {
      const imports = [...text.matchAll(importPattern)].filter((match) => match[3] === undefined); // `import()` is for later
      return [path, imports.map((match) => normalize(join(dirname(path), match[2] ?? match[4] ?? '')).replace(/\.js$/, '.ts'))];
    }),
  );
  const circles: string[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (path: string, way: readonly string[]): void => {
    if (state.get(path) === 'open') circles.push([...way.slice(way.indexOf(path)), path].join(' -> '));
    if (state.has(path)) return;
    state.set(path, 'open');
    for (const target of targets.get(path) ?? []) {
      const file = [target, `${target}x`].find((name) => targets.has(name)); // .ts or .tsx
      if (file !== undefined) visit(file, [...way, path]);
    }
    state.set(path, 'done');
  };
  for (const path of targets.keys()) visit(path, []);
  return circles;
}

test('no files import each other in a circle', () => {
  assert.deepEqual(importCircles([...sourcesBelow('src', ['.ts', '.tsx']), ...sourcesBelow('bench', ['.ts'])]), []);
});

test('the check finds a circle, also of types alone, and no other', () => {
  const circlesOf = (texts: Readonly<Record<string, string>>) =>
    importCircles(Object.entries(texts).map(([path, text]) => ({ path, text })));
  const [a, b, c] = ["import { b } from './b.js';", "import type { C } from './c.js';", "export { a } from './a.js';"];
  assert.deepEqual(circlesOf({ 'src/a.ts': a, 'src/b.ts': b, 'src/c.ts': c }), ['src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts']);
  assert.equal(circlesOf({ 'src/a.ts': a, 'src/b.tsx': b, 'src/c.ts': c }).length, 1);
  assert.deepEqual(circlesOf({ 'src/a.ts': a, 'src/b.ts': b, 'src/c.ts': "const a = () => import('./a.js');" }), []);
  assert.deepEqual(circlesOf({ 'src/a.ts': `${a}\n${b}`, 'src/b.ts': b, 'src/c.ts': '' }), [], 'two ways to one file');
});

/** Only cli/ reads argv and the environment; the other rooms are given values. */
function strayEnvironment({ path, text }: Source): string[] {
  if (path.startsWith('src/cli/') || path.endsWith('.test.ts')) return [];
  return /\bprocess\.(argv|env)\b/.test(text) ? [`${path} reads process.argv or process.env`] : [];
}

test('only cli/ reads argv and the environment', () => {
  assert.deepEqual(sourcesBelow('src', ['.ts', '.tsx']).flatMap(strayEnvironment), []);
  assert.equal(strayEnvironment({ path: 'src/model/hub.ts', text: 'const token = process.env.HF_TOKEN;' }).length, 1);
});

const nativeLines: Readonly<Record<string, readonly string[]>> = {
  common: [],
  cpu: ['common'],
  cuda: ['common'],
  nccl: ['common', 'cuda'],
  addon: ['common', 'cpu', 'cuda', 'nccl'],
  test: ['common', 'cpu', 'cuda', 'nccl'],
  bench: ['common', 'cpu', 'cuda', 'nccl'],
};

function wrongIncludes({ path, text }: Source): string[] {
  const room = path.split('/')[1] ?? '';
  const wrong: string[] = [];
  for (const [, quoted = ''] of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
    const candidates = [quoted, relative('native', normalize(join(dirname(path), quoted))), quoted.replace(/^native\//, '')];
    const target = candidates.map((candidate) => candidate.split('/')[0] ?? '').find((name) => name !== room && name in nativeLines);
    if (target && !(nativeLines[room] ?? []).includes(target)) wrong.push(`${path}: native/${room} may not include native/${target}`);
  }
  if (room !== 'addon' && /#\s*include\s+[<"](napi|node_api)\.h/.test(text)) wrong.push(`${path}: only native/addon includes napi.h`);
  return wrong;
}

test('native rooms include only what stands in their line', () => {
  assert.deepEqual(sourcesBelow('native', ['.h', '.cpp', '.cu', '.cuh']).flatMap(wrongIncludes), []);
  assert.equal(wrongIncludes({ path: 'native/common/forward.cpp', text: '#include "cpu/kernels.h"' }).length, 1);
  assert.equal(wrongIncludes({ path: 'native/common/forward.cpp', text: '#include "../cpu/kernels.h"' }).length, 1);
  assert.equal(wrongIncludes({ path: 'native/cpu/backend.cpp', text: '#include <napi.h>' }).length, 1);
  assert.equal(wrongIncludes({ path: 'native/cpu/backend.cpp', text: '#include "kernels.h"\n#include "common/backend.h"' }).length, 0);
});

const cppTypes = { i32: 'int32_t', f32: 'float', f64: 'double' } as const;
const columnGroups = {
  CONTROL: layout.controlColumns,
  ROW: layout.rowColumns,
  PLAN: layout.planColumns,
  RESULT: layout.resultColumns,
};
const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const pascalCase = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

/** Differences between step/layout.ts and its mirror in C++: columns (name, type, order), constants, dimensions. */
function layoutDifferences(header: string, typescript: string): string[] {
  const wrong: string[] = [];
  const compare = (what: string, ours: unknown, theirs: unknown) => {
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) wrong.push(`${what}: ${JSON.stringify(ours)} and ${JSON.stringify(theirs)}`);
  };
  for (const [group, columns] of Object.entries(columnGroups)) {
    const macro = new RegExp(`#define LOCKSTEP_${group}_COLUMNS\\(X\\)((?:.*\\\\\\n)*.*)`).exec(header)?.[1] ?? '';
    const theirs = [...macro.matchAll(/X\((\w+),\s*(\w+)\)/g)].map(([, name, type]) => [name, type]);
    compare(
      `${group} columns`,
      columns.map(({ name, type }) => [name, cppTypes[type]]),
      theirs,
    );
  }
  const constants: [string, number][] = [
    ['kNumSlots', layout.numSlots],
    ['kMaxBiasLen', layout.maxBiasLen],
    ['kMaxStopIds', layout.maxStopIds],
    ['kMaxAllowedIds', layout.maxAllowedIds],
    ['kBadWordsLenMax', layout.badWordsLenMax],
    ['kMarkerLenMax', layout.markerLenMax],
    ...Object.entries(layout.rowOutcome).map(([name, value]): [string, number] => [`kRow${pascalCase(name)}`, value]),
    ['kMaxLogprobIds', layout.maxLogprobIds],
    ...Object.entries(layout.entryFlag).map(([name, value]): [string, number] => [`kEntry${pascalCase(name)}`, value]),
    ...Object.entries(layout.control).map(([name, value]): [string, number] => [`kControl${pascalCase(name)}`, value]),
  ];
  const theirConstants = new Map([...header.matchAll(/constexpr \w+ (k\w+) = (-?\d+);/g)].map(([, name, value]) => [name, Number(value)]));
  for (const [name, value] of constants) compare(name, value, theirConstants.get(name));
  compare('constants', constants.map(([name]) => name).sort(), [...theirConstants.keys()].sort());
  const ourDims = /interface StepDims \{([\s\S]*?)\n\}/.exec(typescript)?.[1] ?? '';
  const theirDims = /struct StepDims \{([\s\S]*?)\n\}/.exec(header)?.[1] ?? '';
  const ourNames = [...ourDims.matchAll(/readonly (\w+):/g)].map(([, name = '']) => snakeCase(name));
  compare(
    'StepDims',
    [...ourNames, 'max_blocks_per_row'],
    [...theirDims.matchAll(/int32_t (\w+);/g)].map(([, name]) => name),
  );
  return wrong;
}

test('both step layouts agree', () => {
  const header = readFileSync(join(root, 'native/common/step_layout.h'), 'utf8');
  const typescript = readFileSync(join(root, 'src/step/layout.ts'), 'utf8');
  assert.deepEqual(layoutDifferences(header, typescript), []);
  const spoilt = (from: string, to: string) => {
    assert.ok(header.includes(from), `the header has ${from}`);
    return layoutDifferences(header.replace(from, to), typescript).length;
  };
  assert.equal(spoilt('X(topP, float)', 'X(topP, int32_t)'), 1, 'another type');
  assert.equal(spoilt('X(minP, float)', 'X(minQ, float)'), 1, 'another name');
  assert.equal(spoilt('kEntryReset = 2', 'kEntryReset = 8'), 1, 'another value');
  assert.ok(spoilt('int32_t block_size;', '') > 0, 'a missing dimension');
});

const fileLenMax = 600;
const medianRange = [60, 230] as const;
const numLines = (text: string) => text.split('\n').length - 1;
const tooLong = ({ path, text }: Source) => (numLines(text) > fileLenMax ? [`${path}: ${numLines(text)} lines`] : []);

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

test('files are short', () => {
  const all = ['src', 'test', 'bench', 'native', 'scripts'].flatMap((folder) =>
    sourcesBelow(folder, ['.ts', '.tsx', '.css', '.mjs', '.h', '.cpp', '.cu', '.cuh']),
  );
  assert.deepEqual(all.flatMap(tooLong), []);
  assert.equal(tooLong({ path: 'long.ts', text: 'x\n'.repeat(fileLenMax + 1) }).length, 1);
  const middle = median(sourcesBelow('src', ['.ts', '.tsx']).map(({ text }) => numLines(text)));
  assert.ok(middle >= medianRange[0] && middle <= medianRange[1], `the median file of src has ${middle} lines`);
  assert.equal(median([900, 1, 700]), 700);
});

/** `any`, and comments that silence the compiler or the linter without saying why. */
function escapes({ path, text }: Source): string[] {
  const lines = text.split('\n').map((line, index) => ({ line, at: `${path}:${index + 1}` }));
  const isAny = (line: string) => /(:\s*any\b|\bas any\b|<any\b|\bany\[\])/.test(line.replace(/(['"`]).*?\1|\/[/*].*|^\s*\*.*/g, ''));
  const isSilent = (line: string) => /(@ts-\w+|(?:biome|eslint)-\w+[\w/]*)\s*:?\s*.{0,9}$/.test(line) && /\/[/*]/.test(line);
  return lines.filter(({ line }) => isAny(line) || isSilent(line)).map(({ line, at }) => `${at}: ${line.trim()}`);
}

test('no escape from the type checker without a reason', () => {
  const sources = ['src', 'test', 'bench'].flatMap((folder) => sourcesBelow(folder, ['.ts', '.tsx']));
  assert.deepEqual(sources.filter(({ path }) => path !== 'test/tidy.test.ts').flatMap(escapes), []);
  const finds = (text: string) => escapes({ path: 'a.ts', text }).length;
  assert.equal(finds('const a: any = 1;'), 1);
  assert.equal(finds('f(a as any);'), 1);
  assert.equal(finds('// @ts-ignore'), 1);
  assert.equal(finds('// @ts-expect-error the library types the callback as returning nothing'), 0);
  assert.equal(finds("// any other file: 'as any'"), 0);
  assert.equal(finds('/** 0: any free one. */'), 0);
});
