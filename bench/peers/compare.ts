/**
 * Lockstep beside llama.cpp's server, at equal bits, in one run: the servers take turns (A B A B …), so that a machine that gets slower or
 * faster meanwhile does so for both. Prints a table of medians and ratios and writes them to bench/results.
 *
 *   npm run bench -- peers --llama-bin DIR --q4_1 FILE.gguf --bf16 FILE.gguf --bf16-folder FOLDER [--rounds N]
 *
 * llama-quantize --allow-requantize FILE.gguf OUT.gguf BF16 makes the bf16 file.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { spreadOf } from '../figures.js';
import { timestamp } from '../serve-report.js';
import type { ServerCommand } from './server-process.js';
import { measure, workloads } from './workloads.js';

const { values: flags } = parseArgs({
  options: {
    'llama-bin': { type: 'string' },
    q4_1: { type: 'string' },
    bf16: { type: 'string' },
    'bf16-folder': { type: 'string' },
    rounds: { type: 'string', default: '2' },
    port: { type: 'string', default: '8950' },
    'result-dir': { type: 'string', default: 'bench/results' },
  },
});
const numParameters = 134_515_008; // of SmolLM2-135M, tied embedding counted once
const maxSeqLen = 1024;
const numStreams = 16;

interface Format {
  readonly name: string;
  readonly bitsPerWeight: number;
  readonly commands: readonly ServerCommand[];
}

function formatOf(name: string, llamaFile: string, lockstepModel: string): Format {
  const cores = String(cpus().length);
  const port = Number(flags.port);
  const llamaArgs = [
    '-m',
    llamaFile,
    '-t',
    cores,
    '-np',
    String(numStreams),
    '-c',
    String(numStreams * maxSeqLen),
    '--no-webui',
    '--no-warmup',
  ];
  const lockstepArgs = ['dist/src/cli/main.js', 'serve', lockstepModel, '--max-model-len', String(maxSeqLen), '--log-level', 'warning'];
  return {
    name,
    bitsPerWeight: (statSync(llamaFile).size * 8) / numParameters,
    commands: [
      {
        name: 'llama.cpp',
        program: join(flags['llama-bin'] ?? '', 'llama-server'),
        args: [...llamaArgs, '--port', String(port)],
        port,
        model: 'm',
      },
      {
        name: 'Lockstep',
        program: process.execPath,
        args: [...lockstepArgs, '--served-model-name', 'm', '--port', String(port + 1)],
        port: port + 1,
        model: 'm',
      },
    ],
  };
}

function formatsAsked(): Format[] {
  const { q4_1: q4, bf16, 'bf16-folder': folder } = flags;
  const formats = [...(q4 ? [formatOf('Q4_1', q4, q4)] : []), ...(bf16 ? [formatOf('bf16', bf16, folder ?? bf16)] : [])];
  if (!flags['llama-bin'] || formats.length === 0) {
    process.stderr.write('needs --llama-bin DIR and --q4_1 FILE.gguf or --bf16 FILE.gguf; see the top of bench/peers/compare.ts\n');
    process.exit(2);
  }
  return formats;
}

const medianOf = (values: readonly number[]) => spreadOf(values, []).median;

async function compare(format: Format, rounds: number) {
  const runs: Record<string, number[][]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const command of format.commands) {
      process.stderr.write(`${format.name}, round ${round + 1} of ${rounds}: ${command.name} …\n`);
      runs[command.name] = [...(runs[command.name] ?? []), await measure(command, round)];
    }
  }
  return workloads.map(({ name, unit, isMoreBetter }, index) => {
    const of = (server: string) => (runs[server] ?? []).map((values) => values[index] ?? Number.NaN);
    const [theirs, ours] = [medianOf(of('llama.cpp')), medianOf(of('Lockstep'))];
    const ratio = isMoreBetter ? ours / theirs : theirs / ours;
    return {
      workload: name,
      unit,
      format: format.name,
      bitsPerWeight: format.bitsPerWeight,
      theirs,
      ours,
      ratio,
      runs: [of('llama.cpp'), of('Lockstep')],
    };
  });
}

// A server must not outlive the comparison.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const formats = formatsAsked();
const rows = [];
for (const format of formats) rows.push(...(await compare(format, Number(flags.rounds))));

const text = (value: number) => value.toFixed(value < 100 ? 1 : 0);
const lines = rows.map(
  (row) =>
    `| ${row.workload} | ${row.format} | ${row.bitsPerWeight.toFixed(2)} | ${text(row.theirs)} | ${text(row.ours)} | ${row.unit} | ${row.ratio.toFixed(2)} |`,
);
const head =
  '| workload | format | bits/weight | llama.cpp | Lockstep | unit | Lockstep / llama.cpp (above 1: better) |\n| --- | --- | --- | --- | --- | --- | --- |';
process.stdout.write(`${head}\n${lines.join('\n')}\n`);

/** "version: 1 (de3ff81)"; it goes to stderr. */
function llamaVersion(): string {
  const { stdout, stderr } = spawnSync(join(flags['llama-bin'] ?? '', 'llama-server'), ['--version'], { encoding: 'utf8' });
  return /version: .*/.exec(stderr + stdout)?.[0] ?? 'unknown';
}

const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
const record = {
  date: timestamp(new Date()),
  commit: git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'src', 'native') === '' ? '' : ' and changes'),
  command: `npm run bench -- peers --rounds ${flags.rounds}`,
  hardware: { cpu: cpus()[0]?.model, cores: cpus().length, memoryGB: Math.round(totalmem() / 1e9), node: process.version },
  model: 'SmolLM2-135M-Instruct',
  llamaCpp: llamaVersion(),
  rows,
};
mkdirSync(flags['result-dir'], { recursive: true });
const path = join(flags['result-dir'], `peers-${record.date}.json`);
writeFileSync(path, `${JSON.stringify(record, null, 1)}\n`);
process.stderr.write(`written to ${path}\n`);
