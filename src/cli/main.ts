#!/usr/bin/env node
/** `lockstep <command>`: finds the command, runs it, and makes an exit status of what it throws. */
import { readFileSync } from 'node:fs';
import { LockstepError, startError } from '../errors.js';
import { benchPerplexityCommand, benchServeCommand, benchThroughputCommand } from './bench-options.js';
import { checkCommand, recordCommand } from './check-options.js';
import { helpOf, helpTopic, overview } from './help.js';
import { type CommandTable, loadOptions } from './load-options.js';
import { modelsListCommand, modelsPullCommand, modelsRemoveCommand } from './models-options.js';
import { nearestOf } from './nearest.js';
import {
  cacheClearCommand,
  chatCommand,
  completionCommand,
  doctorCommand,
  healthCommand,
  loadServeOptions,
  serveCommand,
} from './options.js';

interface Entry {
  readonly table: CommandTable;
  run(argv: readonly string[]): Promise<void>;
}

// A command's code is loaded when it runs, so that `chat` needs no addon and `serve` starts quickly.
const entries: readonly Entry[] = [
  {
    table: serveCommand,
    run: async (argv) => {
      const options = loadServeOptions(argv, process.env);
      const { serve } = await import('./serve.js');
      await serve(options, process.env, version());
    },
  },
  {
    table: benchServeCommand,
    run: async (argv) => {
      const options = loadOptions(benchServeCommand, argv, process.env);
      const { runBenchServe } = await import('./bench-serve.js');
      await runBenchServe(options, process.stdout, process.stderr);
    },
  },
  {
    table: benchThroughputCommand,
    run: async (argv) => {
      const options = loadOptions(benchThroughputCommand, argv, process.env);
      const [{ runBenchThroughput }, { startOffline }] = await Promise.all([import('./bench-throughput.js'), import('./start-engine.js')]);
      await runBenchThroughput(options, (engine) => startOffline(engine, process.env), process.stdout);
    },
  },
  {
    table: benchPerplexityCommand,
    run: async (argv) => {
      const options = loadOptions(benchPerplexityCommand, argv, process.env);
      const [{ runBenchPerplexity }, { startOffline }] = await Promise.all([import('./bench-perplexity.js'), import('./start-engine.js')]);
      await runBenchPerplexity(options, (engine) => startOffline(engine, process.env), process.stdout);
    },
  },
  {
    table: chatCommand,
    run: async (argv) => {
      const options = loadOptions(chatCommand, argv, process.env);
      const { chat } = await import('./chat.js');
      await chat(options, { input: process.stdin, output: process.stdout });
    },
  },
  {
    table: recordCommand,
    run: async (argv) => {
      const options = loadOptions(recordCommand, argv, process.env);
      const { record } = await import('./record.js');
      await record(options, (line) => process.stderr.write(`${line}\n`));
    },
  },
  {
    table: checkCommand,
    run: async (argv) => {
      const options = loadOptions(checkCommand, argv, process.env);
      const { runCheck } = await import('./check.js');
      await runCheck(options, process.stdout, process.stderr);
    },
  },
  {
    table: doctorCommand,
    run: async (argv) => {
      const options = loadOptions(doctorCommand, argv, process.env);
      const { examine, formatFindings } = await import('./doctor.js');
      const findings = examine(options, process.env);
      process.stdout.write(formatFindings(findings));
      if (findings.some(({ isFine }) => !isFine)) process.exitCode = 1;
    },
  },
  {
    table: modelsListCommand,
    run: async (argv) => {
      const options = loadOptions(modelsListCommand, argv, process.env);
      const { listModels } = await import('./models.js');
      process.stdout.write(listModels(options, process.env));
    },
  },
  {
    table: modelsPullCommand,
    run: async (argv) => {
      const options = loadOptions(modelsPullCommand, argv, process.env);
      const { pullModel } = await import('./models.js');
      process.stdout.write(`${await pullModel(options, process.env, process.stderr)}\n`);
    },
  },
  {
    table: modelsRemoveCommand,
    run: async (argv) => {
      const options = loadOptions(modelsRemoveCommand, argv, process.env);
      const { removeFromCache } = await import('./models.js');
      process.stdout.write(removeFromCache(options, process.env));
    },
  },
  {
    table: healthCommand,
    run: async (argv) => {
      const options = loadOptions(healthCommand, argv, process.env);
      const { problemOf } = await import('./health.js');
      const problem = await problemOf(options);
      process.stdout.write(`${problem ?? 'well'}\n`);
      if (problem !== null) process.exitCode = 1;
    },
  },
  {
    table: cacheClearCommand,
    run: async (argv) => {
      loadOptions(cacheClearCommand, argv, process.env);
      const { cacheFolder, clearCache } = await import('../cache/disk-cache.js');
      const folder = cacheFolder(process.env);
      const bytes = folder === null ? 0 : clearCache(folder);
      process.stdout.write(`${Math.ceil(bytes / 2 ** 20)} MiB removed from ${folder ?? 'nowhere: there is no home folder'}\n`);
    },
  },
  {
    table: completionCommand,
    run: async (argv) => {
      const { shell } = loadOptions(completionCommand, argv, process.env);
      const { completionScript } = await import('./completion/script.js');
      process.stdout.write(completionScript(shell, tables));
    },
  },
];

const tables = entries.map(({ table }) => table);

function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

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
