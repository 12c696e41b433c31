/** The commands: the table of each, and what runs it. A command's code is loaded when it runs, so that `chat` needs no addon and `serve` starts quickly. */
import { readFileSync } from 'node:fs';
import { benchPerplexityCommand, benchServeCommand, benchThroughputCommand } from './bench-options.js';
import { checkCommand, recordCommand } from './check-options.js';
import { type CommandTable, loadOptions } from './load-options.js';
import { modelsListCommand, modelsPullCommand, modelsRemoveCommand } from './models-options.js';
import {
  cacheClearCommand,
  chatCommand,
  completionCommand,
  doctorCommand,
  healthCommand,
  loadServeOptions,
  serveCommand,
} from './options.js';

export interface Entry {
  readonly table: CommandTable;
  run(argv: readonly string[]): Promise<void>;
}

export const entries: readonly Entry[] = [
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

export const tables: readonly CommandTable[] = entries.map(({ table }) => table);

export function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
