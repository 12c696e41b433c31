/**
 * What a disturbed core costs: another process takes half of one core, and the server may lose that share of its speed and 15 % more. Calm and
 * disturbed runs take turns at each workload. Linux, for the other process's time and place.
 *
 *   npm run bench -- disturbed --model MODEL [--rounds N]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { medianOf } from './figures.js';
import { statOf, ticksPerS } from './peers/cpu-time.js';
import { startServer } from './peers/server-process.js';
import { measureLoad, type Workload, workloads } from './peers/workloads.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    port: { type: 'string', default: '8980' },
  },
});
const { model } = flags;
if (model === undefined) throw new Error('--model MODEL is missing; the bundled one is too short for these prompts');
const lossMax = 0.15;
const measured = ['decode1', 'decode16', 'prefill'] as const;

/** Half of core 0: 5 ms on, 5 ms off. */
const program = 'setInterval(() => { const end = performance.now() + 5; while (performance.now() < end); }, 10)';

function disturb(): ChildProcess {
  const child = spawn('taskset', ['-c', '0', process.execPath, '-e', program], { stdio: 'ignore' });
  child.on('error', (error) => {
    throw new Error(`taskset (of util-linux) cannot be run: ${error.message}`);
  });
  return child;
}

const cpuSeconds = ({ pid }: ChildProcess) => statOf(pid!).ticks / ticksPerS;

interface Disturbed {
  readonly value: number;
  /** Of all cores, what the other process had. */
  readonly share: number;
}

async function measureDisturbed(measure: () => Promise<number>): Promise<Disturbed> {
  const other = disturb();
  try {
    await new Promise((resolve) => setTimeout(resolve, 300)); // it has started
    const [begin, before] = [performance.now(), cpuSeconds(other)];
    const value = await measure();
    return { value, share: (cpuSeconds(other) - before) / (((performance.now() - begin) / 1000) * cpus().length) };
  } finally {
    other.kill('SIGKILL');
  }
}

const args = ['--served-model-name', 'm', '--max-model-len', '640', '--log-level', 'warning', '--port', flags.port];
const server = await startServer({
  name: 'Lockstep',
  program: process.execPath,
  args: ['dist/src/cli/main.js', 'serve', model, '--host', '127.0.0.1', ...args],
  env: {},
  port: Number(flags.port),
});
let isWorse = false;
try {
  process.stdout.write(`${cpus().length} cores of ${cpus()[0]?.model}, ${model}; medians of ${flags.rounds} rounds\n\n`);
  process.stdout.write('| | calm | disturbed | the other had | lost | may lose |\n| --- | --- | --- | --- | --- | --- |\n');
  for (const name of measured) {
    const workload: Workload & { load: NonNullable<Workload['load']> } = workloads[name];
    const calm: number[] = [];
    const disturbed: Disturbed[] = [];
    for (let round = 0; round < Number(flags.rounds); round++) {
      calm.push(await measureLoad(workload, server.baseUrl, round * 2));
      disturbed.push(await measureDisturbed(() => measureLoad(workload, server.baseUrl, round * 2 + 1)));
    }
    const lost = 1 - medianOf(disturbed.map(({ value }) => value)) / medianOf(calm);
    const share = medianOf(disturbed.map((one) => one.share));
    isWorse ||= lost > share + lossMax;
    const percent = (part: number) => `${Math.round(part * 100)} %`;
    const rate = (values: readonly number[]) => `${Math.round(medianOf(values)).toLocaleString('en-US')} ${workload.unit}`;
    const cells = [
      workload.title,
      rate(calm),
      rate(disturbed.map(({ value }) => value)),
      percent(share),
      percent(lost),
      percent(share + lossMax),
    ];
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
  }
} finally {
  await server.stop();
}
process.exitCode = isWorse ? 1 : 0;
