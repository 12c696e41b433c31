#!/usr/bin/env node
/** `lockstep <command>`: finds the command, runs it, and makes an exit status of what it throws. */
import { readFileSync } from 'node:fs';
import { LockstepError, startError } from '../errors.js';
import { benchPerplexityCommand, benchServeCommand, benchThroughputCommand } from './bench-options.js';
import { type CommandTable, commandFor, loadOptions } from './load-options.js';
import { cacheClearCommand, chatCommand, doctorCommand, loadServeOptions, serveCommand } from './options.js';

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
    table: cacheClearCommand,
    run: async (argv) => {
      loadOptions(cacheClearCommand, argv, process.env);
      const { cacheFolder, clearCache } = await import('../cache/disk-cache.js');
      const folder = cacheFolder(process.env);
      const bytes = folder === null ? 0 : clearCache(folder);
      process.stdout.write(`${Math.ceil(bytes / 2 ** 20)} MiB removed from ${folder ?? 'nowhere: there is no home folder'}\n`);
    },
  },
];

function overview(commands: readonly Entry[]): string {
  const width = Math.max(...commands.map(({ table }) => table.name.length)) + 3;
  const lines = commands.map(({ table }) => `  lockstep ${table.name.padEnd(width)}${table.summary}\n`);
  return `usage: lockstep <command> [options]\n\n${lines.join('')}\n'lockstep <command> --help' lists the options of a command.\n`;
}

function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function main(argv: readonly string[]): Promise<void> {
  const [first = '--help'] = argv;
  if (first === '--version' || first === '-v') return void process.stdout.write(`${version()}\n`);
  const asksForHelp = (word: string) => word === '--help' || word === '-h' || word === 'help';
  if (asksForHelp(first)) return void process.stdout.write(overview(entries));
  const below = entries.filter(({ table }) => table.name.startsWith(`${first} `));
  if (below.length > 0 && asksForHelp(argv[1] ?? '--help')) return void process.stdout.write(overview(below));
  const entry = entries.find(({ table }) => table.name.split(' ').every((word, index) => argv[index] === word));
  if (!entry) {
    const names = entries.map(({ table }) => table.name).join(', ');
    throw startError(`there is no command '${argv.slice(0, below.length > 0 ? 2 : 1).join(' ')}'; there are: ${names}`);
  }
  const rest = argv.slice(entry.table.name.split(' ').length);
  if (rest.includes('--help') || rest.includes('-h')) return void process.stdout.write(commandFor(entry.table).helpInformation());
  await entry.run(rest);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isKnown = error instanceof LockstepError;
  process.stderr.write(isKnown ? `lockstep: ${error.message.replace(/\s*\n\s*/g, ' ')}\n` : `${(error as Error).stack ?? error}\n`);
  process.exitCode = isKnown && error.code === 'start' ? 2 : 1;
}
