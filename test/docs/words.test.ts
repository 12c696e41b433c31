/** What README.md and docs/ name is there: flags, metrics, files, headings, and what the walk through the source says to look for. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { tables } from '../../src/cli/commands.js';
import { allFlags, type CommandTable } from '../../src/cli/load-options.js';
import { serveCommand } from '../../src/cli/options.js';
import { refusedFlags } from '../../src/cli/refused-flags.js';
import { metricNames, metricRows } from '../../src/metrics/metric-table.js';
import { pages } from './blocks.js';

const read = (path: string) => readFileSync(path, 'utf8');
const withoutBlocks = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '');

const flagsOf = (table: CommandTable): string[] =>
  allFlags(table).flatMap(({ name, type, aliases = [] }) => [`--${name}`, ...(type === 'boolean' ? [`--no-${name}`] : []), ...aliases]);
const served = new Set(flagsOf(serveCommand));
const own = new Set(tables.flatMap(flagsOf));
/** Of other programs, where the text says so. */
const others = new Set(['-np', '-c', '--models-dir', '--llama-bin', '--vllm-bin', '--model', '--fix', '--FLAG.field']);

/** `--port` and `--port N`, in code spans. */
const flagsIn = (text: string): string[] =>
  [...text.matchAll(/`(--?[A-Za-z][\w-]*)[^`]*`/g)].map(([, flag]) => flag!).filter((flag) => !/^-[a-z]\w*(-\w+)+$/.test(flag));

/** Cells of every table whose first heading is `heading`. */
function rowsUnder(text: string, heading: string): string[][] {
  const tables = text.split('\n\n').filter((part) => part.startsWith(`| ${heading} |`));
  return tables.flatMap((table) =>
    table
      .trim()
      .split('\n')
      .slice(2)
      .map((row) =>
        row
          .split(/(?<!\\)\|/)
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
  );
}

const comparisons = {
  'docs/from-vllm.md': ['vLLM'],
  'docs/from-llama-cpp.md': ['llama-server'],
  'docs/from-ollama.md': ['Ollama', 'Modelfile'],
};

for (const [page, headings] of Object.entries(comparisons)) {
  test(`${page}: every flag of ours is one`, () => {
    const rows = headings.flatMap((heading) => rowsUnder(read(page), heading));
    assert.ok(rows.length > 10, `${rows.length} rows`);
    for (const [, ours = '', difference = ''] of rows) {
      for (const flag of flagsIn(`${ours} ${difference}`)) assert.ok(served.has(flag), `${flag} in: ${ours} | ${difference}`);
    }
  });
}

test("docs/from-vllm.md: every flag of vLLM's is one that is taken, and a flag that is refused is in no row of those that differ", () => {
  const rows = rowsUnder(read('docs/from-vllm.md'), 'vLLM');
  for (const [theirs = '', ours = ''] of rows) {
    for (const flag of flagsIn(theirs)) assert.ok(served.has(flag), flag);
    for (const flag of flagsIn(ours)) assert.ok(!refusedFlags.has(flag), flag);
  }
});

for (const page of pages()) {
  const text = read(page);
  test(`${page}: every flag is known`, () => {
    const shown = page in comparisons ? text.replace(/^\| .*/gm, (row) => row.split('|').slice(2).join('|')) : text;
    const unknown = flagsIn(withoutBlocks(shown)).filter(
      (flag) => !own.has(flag) && !refusedFlags.has(flag.replace('--no-', '--')) && !others.has(flag),
    );
    assert.deepEqual(unknown, []);
  });

  test(`${page}: every metric is one`, () => {
    const known = new Set([...metricNames(), ...metricRows().map(({ name }) => name)]);
    const unknown = [...text.matchAll(/\b(?:vllm|lockstep|http|process):?_?\w*:\w+/g)]
      .map(([name]) => name)
      .filter((name) => !known.has(name));
    assert.deepEqual(unknown, []);
  });

  test(`${page}: every link leads somewhere`, () => {
    const anchorOf = (heading: string) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replace(/ /g, '-');
    for (const [, target = ''] of withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : join(dirname(page), path);
      assert.ok(existsSync(file), `${target}: ${file} is not there`);
      if (anchor === undefined) continue;
      const headings = [...withoutBlocks(read(file)).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));
      assert.ok(headings.includes(anchor), `${target}: no such heading`);
    }
  });
}

test('the walk through the source: what is to be looked for is there', () => {
  const rows = [...read('docs/source-walk.md').matchAll(/^\| \d+ \| (.*?) \| `(.*?)`: /gm)];
  assert.ok(rows.length >= 25);
  for (const [, files = '', symbol = ''] of rows) {
    const paths = [...files.matchAll(/\]\((\S+)\)/g)].map(([, path]) => join('docs', path!));
    assert.ok(
      paths.some((path) => read(path).includes(symbol)),
      `${symbol} in ${paths}`,
    );
  }
});
