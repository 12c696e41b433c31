#!/usr/bin/env node
/** `lockstep <command>`: finds the command, runs it, and makes an exit status of what it throws. */
import { LockstepError, startError } from '../errors.js';
import { type Entry, entries, tables, version } from './commands.js';
import { helpOf, helpTopic, overview } from './help.js';
import type { CommandTable } from './load-options.js';
import { nearestOf } from './nearest.js';

const wordsOf = ({ name }: CommandTable) => name.split(' ');

/** What `argv` begins with, and the rest. Throws where there is no such command. */
function findCommand(argv: readonly string[]): { readonly entry: Entry; readonly rest: readonly string[] } {
  const entry = entries.find(({ table }) => wordsOf(table).every((word, i) => argv[i] === word));
  if (entry !== undefined) return { entry, rest: argv.slice(wordsOf(entry.table).length) };
  const asked = argv.slice(0, tables.some((table) => wordsOf(table).length > 1 && wordsOf(table)[0] === argv[0]) ? 2 : 1).join(' ');
  const names = tables.map(({ name }) => name);
  const nearest =
    nearestOf(argv.slice(0, 2).join(' '), names) ??
    nearestOf(asked, names) ??
    nearestOf(
      asked,
      names.map((name) => name.split(' ')[0]!),
    );
  const hint = nearest === null ? '' : ` (is ${nearest} meant?)`;
  throw startError(`there is no command '${asked}'${hint}; there are: ${names.join(', ')}`);
}

async function main(argv: readonly string[]): Promise<void> {
  const [first = '--help'] = argv;
  if (first === '--version' || first === '-v') return void process.stdout.write(`${version()}\n`);
  const asksForHelp = (word: string) => word === '--help' || word === '-h' || word === 'help';
  if (asksForHelp(first)) return void process.stdout.write(overview(tables));
  const below = tables.filter(({ name }) => name.startsWith(`${first} `));
  if (below.length > 0 && asksForHelp(argv[1] ?? '--help')) return void process.stdout.write(overview(below));
  const { entry, rest } = findCommand(argv);
  const topic = helpTopic(rest);
  if (topic !== null) return void process.stdout.write(helpOf(entry.table, topic, process.stdout.columns));
  await entry.run(rest);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isKnown = error instanceof LockstepError;
  process.stderr.write(isKnown ? `lockstep: ${error.message.replace(/\s*\n\s*/g, ' ')}\n` : `${(error as Error).stack ?? error}\n`);
  process.exitCode = isKnown && error.code === 'start' ? 2 : 1;
}
