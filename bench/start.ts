/**
 * From process start to listening, to ready and to the first token, with an empty cache and with a full one, beside `node -e 0` and, where
 * they are given, the single executable, with its `--version` too, and llama.cpp's server. They take turns. The page cache is warm: the first
 * round is not counted.
 *
 *   npm run bench -- start --model MODEL [--executable dist/lockstep] [--llama-bin DIR (MODEL is then a .gguf file)] [--rounds N]
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { spreadOf } from './figures.js';
import { timestamp } from './serve-report.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/guide' },
    'llama-bin': { type: 'string' },
    executable: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    port: { type: 'string', default: '8970' },
    'result-dir': { type: 'string', default: 'bench/results' },
  },
});
const pollMs = 2;
const startTimeoutMs = 60_000;
/** Longer than a server waits before it stores anything. */
const storeMs = 3000;
const cache = mkdtempSync(join(tmpdir(), 'lockstep-bench-start-'));
const url = `http://127.0.0.1:${flags.port}`;

interface Start {
  readonly listeningMs: number;
  readonly readyMs: number;
  readonly firstTokenMs: number;
  readonly residentMB: number;
}

/** One life of a server; it goes on for `useMs` after its first token. */
async function start(program: string, args: readonly string[], useMs = 0): Promise<Start> {
  const startMs = performance.now();
  const child = spawn(program, [...args, '--port', flags.port], { stdio: 'ignore', env: { ...process.env, LOCKSTEP_CACHE: cache } });
  const elapsed = () => performance.now() - startMs;
  try {
    let [listeningMs, readyMs] = [0, 0];
    while (readyMs === 0) {
      if (child.exitCode !== null || elapsed() > startTimeoutMs) throw new Error(`${program} did not start`);
      const status = await fetch(`${url}/health`).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status !== 0 && listeningMs === 0) listeningMs = elapsed();
      if (status === 200) readyMs = elapsed();
      else await delay(pollMs);
    }
    const body = JSON.stringify({ model: 'm', prompt: 'Hello world', max_tokens: 1 });
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    if (answer.status !== 200) throw new Error(`${program} answers ${answer.status}: ${await answer.text()}`);
    const firstTokenMs = elapsed();
    const resident = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
    await delay(useMs);
    return { listeningMs, readyMs, firstTokenMs, residentMB: (Number(resident) * 1024) / 1e6 };
  } finally {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  }
}

const lockstep = ['serve', flags.model, '--max-model-len', '1024', '--served-model-name', 'm', '--log-level', 'warning'];
const llama = ['-m', flags.model, '-t', String(cpus().length), '-np', '16', '-c', '16384', '--no-webui', '--no-warmup'];

const main = 'dist/src/cli/main.js';

function lifeMs(program: string, ...args: readonly string[]): number {
  const startMs = performance.now();
  spawnSync(program, args);
  return performance.now() - startMs;
}

const runs: Record<string, Start[]> = {
  'Lockstep, warm': [],
  'Lockstep, cold': [],
  ...(flags.executable && { 'executable, warm': [] }),
  ...(flags['llama-bin'] && { 'llama.cpp': [] }),
};
const nodeMs: number[] = [];
const versionMs: number[] = [];
try {
  for (let round = 0; round <= Number(flags.rounds); round++) {
    process.stderr.write(`round ${round} of ${flags.rounds}\n`);
    rmSync(cache, { recursive: true, force: true });
    const starts: Record<string, Start> = { 'Lockstep, cold': await start(process.execPath, [main, ...lockstep], storeMs) };
    starts['Lockstep, warm'] = await start(process.execPath, [main, ...lockstep]);
    if (flags.executable) {
      await start(flags.executable, lockstep); // which unpacks it
      starts['executable, warm'] = await start(flags.executable, lockstep);
    }
    if (flags['llama-bin']) starts['llama.cpp'] = await start(join(flags['llama-bin'], 'llama-server'), llama);
    if (round === 0) continue;
    nodeMs.push(lifeMs(process.execPath, '-e', '0'));
    if (flags.executable) versionMs.push(lifeMs(flags.executable, '--version'));
    for (const [name, figures] of Object.entries(starts)) runs[name]?.push(figures);
  }
} finally {
  rmSync(cache, { recursive: true, force: true });
}

const median = (values: readonly number[]) => Math.round(spreadOf(values, []).median);
const rows = Object.entries(runs).map(([server, all]) => ({
  server,
  listeningMs: median(all.map((run) => run.listeningMs)),
  readyMs: median(all.map((run) => run.readyMs)),
  firstTokenMs: median(all.map((run) => run.firstTokenMs)),
  residentMB: median(all.map((run) => run.residentMB)),
}));
const record = { date: timestamp(new Date()), model: flags.model.split('/').at(-1), cpu: cpus()[0]?.model, cores: cpus().length };
console.table([
  ...rows,
  { server: 'node -e 0', firstTokenMs: median(nodeMs) },
  ...(flags.executable ? [{ server: 'executable --version', firstTokenMs: median(versionMs) }] : []),
]);
mkdirSync(flags['result-dir'], { recursive: true });
const path = join(flags['result-dir'], `start-${record.date}.json`);
writeFileSync(path, `${JSON.stringify({ ...record, node: process.version, nodeAloneMs: median(nodeMs), rows, runs }, null, 1)}\n`);
process.stderr.write(`written to ${path}\n`);
