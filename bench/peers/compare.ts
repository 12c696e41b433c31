/**
 * Lockstep beside llama.cpp's server and vLLM, at equal bits, on the same cores, in the same minute: in each round all servers are started,
 * and then take turns at every workload (A B A B …), so that a machine that gets slower or faster meanwhile does so for all; a server whose
 * turn it is not is paused. Prints the tables of medians and ratios and puts them into this processor's file of bench/results in the place
 * of those they repeat (--add: as more rounds of them); scripts/readme-tables.mjs makes the README's tables and plots of these files.
 *
 *   npm run bench -- peers --models-dir DIR --llama-bin DIR [--vllm-bin DIR | --vllm-url URL] [--models 135M,0.5B] [--formats bf16,Q4_1]
 *                          [--workloads decode1,prefill] [--engines Lockstep,llama.cpp] [--rounds N] [--seconds S] [--add]
 *
 * DIR holds smollm2-135m-bf16.gguf (llama-quantize --allow-requantize FILE.gguf OUT.gguf BF16), qwen-0.5b-bf16.gguf (random-qwen.py), and for
 * vLLM the folders smollm2-135m and qwen-0.5b; the other formats are made there.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { timestamp } from '../serve-report.js';
import { watchOthers } from './cpu-time.js';
import { type Case, commandOf, type Engine, type EngineSetup, engines, versionsOf } from './engines.js';
import { costOf, formats, ggufOf, type ModelCost, type ModelName, models } from './models.js';
import { resultTables } from './report.js';
import { joinResults, type Results, type Row, resultFileOf } from './results.js';
import { bestRoof, probeRoof, type Roof } from './roof.js';
import { attachServer, type RunningServer, startServer } from './server-process.js';
import { measureLoad, streamsOf, type Workload, type WorkloadName, workloads } from './workloads.js';

const { values: flags } = parseArgs({
  options: {
    'models-dir': { type: 'string', default: '.cache/bench-models' },
    'llama-bin': { type: 'string', default: '' },
    'vllm-bin': { type: 'string' },
    'vllm-url': { type: 'string' },
    models: { type: 'string', default: '135M,0.5B' },
    formats: { type: 'string', default: 'bf16,Q8_0,Q4_0,Q4_1' },
    workloads: { type: 'string', default: 'start,decode1,decode16,prefill,memory' },
    engines: { type: 'string', default: 'llama.cpp,vLLM,Lockstep' },
    rounds: { type: 'string', default: '3' },
    add: { type: 'boolean', default: false },
    seconds: { type: 'string', default: 'Infinity' },
    port: { type: 'string', default: '8950' },
    result: { type: 'string', default: `bench/results/${resultFileOf(cpus()[0]?.model ?? 'unknown')}` },
  },
});
/** A value that others took more of the cores from is measured again, so many times at most; then its round does not count. */
const othersShareMax = 0.05;
/** Of the fractions of a second that a start takes: CPU time is counted in ticks of 10 ms. */
const startOthersShareMax = 0.1;
const retries = 1;

function listed<T extends string>(flag: 'models' | 'formats' | 'workloads' | 'engines', known: readonly T[]): T[] {
  const asked = flags[flag].split(',').map((word) => word.trim());
  const unknown = asked.find((word) => !known.some((name) => name === word));
  if (unknown !== undefined) throw new Error(`--${flag} has '${unknown}'; there are ${known.join(', ')}`);
  return known.filter((name) => asked.includes(name));
}

/** Every other round the other way round: who is started last has other memory, and who is measured last another hour. */
const inTurn = (names: readonly Engine[], round: number): readonly Engine[] => (round % 2 === 0 ? names : names.toReversed());

const say = (text: string) => process.stderr.write(`${text}\n`);
const setup: EngineSetup = {
  modelDir: flags['models-dir'],
  llamaBin: flags['llama-bin'],
  vllmBin: flags['vllm-bin'] ?? null,
  cores: cpus().length,
  firstPort: Number(flags.port),
};

interface Server extends RunningServer {
  readonly engine: Engine;
}

async function startEngine(engine: Engine, at: Case): Promise<Server | null> {
  if (engine === 'vLLM' && flags['vllm-url'] !== undefined && at.format === 'bf16') {
    return { ...(await attachServer(engine, flags['vllm-url'])), engine };
  }
  const command = commandOf(engine, at, setup);
  return command === null ? null : { ...(await startServer(command)), engine };
}

/** Starts it again, at most `repeats` times, where others had the cores. */
async function startUndisturbed(
  engine: Engine,
  at: Case,
  running: readonly Server[],
  repeats: number,
): Promise<[server: Server, othersShare: number] | null> {
  for (let attempt = 0; ; attempt++) {
    const others = watchOthers(running.flatMap(({ pid }) => pid ?? []));
    const server = await startEngine(engine, at);
    if (server === null) return null;
    const othersShare = server.pid === null ? 0 : others([server.pid]);
    if (othersShare <= startOthersShareMax || repeats === 0) return [server, othersShare];
    await server.stop();
    if (attempt === repeats) throw new Disturbed(`others had ${(othersShare * 100).toFixed(0)} % of the cores while ${engine} started`);
    say(`  others had ${(othersShare * 100).toFixed(0)} % of the cores: ${engine} once more`);
  }
}

/** A round that others had too much of. */
class Disturbed extends Error {}

interface Measured {
  readonly name: WorkloadName;
  readonly engine: Engine;
  readonly value: number;
  readonly othersShare: number;
}

/** Values of one workload by engine, and what disturbed them. */
class Collected {
  readonly values: Partial<Record<Engine, number[]>> = {};
  readonly roofs: Roof[] = []; // of each round
  othersShare = 0;

  add({ engine, value, othersShare }: Measured): void {
    this.values[engine] = [...(this.values[engine] ?? []), value];
    this.othersShare = Math.max(this.othersShare, othersShare);
  }
}

async function measureUndisturbed(server: Server, workload: Workload & { load: NonNullable<Workload['load']> }, seed: number) {
  for (let attempt = 0; ; attempt++) {
    const others = watchOthers(server.pid === null ? [] : [server.pid]);
    const value = await measureLoad(workload, server.baseUrl, seed + attempt);
    const othersShare = server.pid === null ? 0 : others(); // the CPU time of an attached server would count as others'
    if (othersShare <= othersShareMax) return { value, othersShare };
    if (attempt === retries) throw new Disturbed(`others had ${(othersShare * 100).toFixed(0)} % of the cores during ${workload.title}`);
    say(`  others had ${(othersShare * 100).toFixed(0)} % of the cores: once more`);
  }
}

/** Seeds of the prompts: the same for all engines, others in every round and workload, so that no prefix is ever seen twice. */
const firstSeed = (Date.now() % 65536) * 1024;
const seedOf = (round: number, name: WorkloadName) => firstSeed + (round * 16 + Object.keys(workloads).indexOf(name)) * 8;

/**
 * The round's values, which count when all of it was measured undisturbed, and the roof of each workload. Memory may be slower in one minute than in the next, so its speed
 * is that before and after a workload. What the cores can multiply stays the same, and a server that has just worked may lower a probe: that
 * is the best of the whole round.
 */
async function runRound(
  at: Case,
  names: readonly WorkloadName[],
  round: number,
): Promise<{ readonly found: Measured[]; readonly roofOf: (name: WorkloadName) => Roof }> {
  const found: Measured[] = [];
  const servers: Server[] = [];
  const probes = [probeRoof(setup.cores)];
  const readings = new Map<WorkloadName, number>(); // bytes a second
  try {
    for (const engine of inTurn(listed('engines', engines), round)) {
      const started = await startUndisturbed(engine, at, servers, names.includes('start') ? retries : 0);
      if (started === null) continue;
      const [server, othersShare] = started;
      servers.push(server);
      server.pause();
      if (server.firstTokenMs !== null) found.push({ name: 'start', engine, value: server.firstTokenMs, othersShare });
    }
    probes.push(probeRoof(setup.cores));
    for (const name of names) {
      const workload: Workload = workloads[name];
      if (workload.load === null) continue;
      for (const server of servers) {
        server.resume();
        const { value, othersShare } = await measureUndisturbed(server, { ...workload, load: workload.load }, seedOf(round, name));
        server.pause();
        found.push({ name, engine: server.engine, value, othersShare });
        say(`  ${server.engine}, ${workload.title}: ${value.toFixed(1)} ${workload.unit}`);
      }
      probes.push(probeRoof(setup.cores));
      readings.set(name, bestRoof(probes.slice(-2)).bytesPerS);
    }
    for (const { engine, pid, residentBytes } of servers)
      if (pid !== null) found.push({ name: 'memory', engine, value: residentBytes() / 1e6, othersShare: 0 });
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
  const best = bestRoof(probes);
  return { found, roofOf: (name) => ({ ...best, bytesPerS: readings.get(name) ?? best.bytesPerS }) };
}

/** Files that were never read are a start from the disk, which is another thing. vLLM's minutes are not the disk's. */
async function startOnce(at: Case): Promise<void> {
  for (const engine of listed('engines', engines)) if (engine !== 'vLLM') await (await startEngine(engine, at))?.stop();
}

/** Tells `onRound` after every round that counts what all rounds together give. */
async function compare(at: Case, names: readonly WorkloadName[], onRound: (rows: readonly Row[]) => void): Promise<void> {
  const cost = costOf(ggufOf(setup.modelDir, at.model, at.format, setup.llamaBin));
  const collected = new Map(names.map((name) => [name, new Collected()] as const));
  const startMs = performance.now();
  // As many rounds as are asked for and fit into the time; one always.
  for (let round = 0; round < Number(flags.rounds); round++) {
    if (round > 0 && ((performance.now() - startMs) / 1000) * (1 + 1 / round) > Number(flags.seconds)) break;
    say(`${at.model} ${at.format}, round ${round + 1} of ${flags.rounds}`);
    if (round === 0 && names.includes('start')) await startOnce(at);
    try {
      const { found, roofOf } = await runRound(at, names, round);
      for (const measured of found) collected.get(measured.name)?.add(measured);
      for (const [name, { roofs }] of collected) roofs.push(roofOf(name));
    } catch (error) {
      if (!(error instanceof Disturbed)) throw error;
      say(`  this round does not count: ${error.message}`);
      continue;
    }
    onRound(names.map((name) => rowOf(at, name, collected.get(name)!, cost)));
  }
}

function rowOf(at: Case, name: WorkloadName, { values, othersShare, roofs }: Collected, cost: ModelCost): Row {
  const { unit, load, roof: bound }: Workload = workloads[name];
  return {
    model: at.model,
    format: at.format,
    workload: name,
    unit,
    bitsPerWeight: (cost.weightBytes * 8) / cost.parameters,
    values,
    othersShare,
    roofs,
    roofValues: bound === null || load === null ? null : roofs.map((roof) => bound(load, cost, at.format, roof)),
    date: timestamp(new Date()),
    commit,
  };
}

function commitNow(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'src', 'native') === '' ? '' : ' and changes');
}

// A server must not outlive the comparison.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

const names = listed('workloads', Object.keys(workloads) as WorkloadName[]);
const commit = commitNow();
const hardware = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGB: Math.round(totalmem() / 1e9),
  node: process.version,
};
const run = { hardware, versions: versionsOf(setup) };
let results = existsSync(flags.result) ? (JSON.parse(readFileSync(flags.result, 'utf8')) as Results) : null;
mkdirSync(dirname(flags.result), { recursive: true });
for (const model of listed('models', Object.keys(models) as ModelName[])) {
  for (const format of listed('formats', formats)) {
    // Rooms for many sequences are made only for those that need them: some engines get slower with them.
    const groups = [names.filter((name) => streamsOf(name) <= 16), names.filter((name) => streamsOf(name) > 16)];
    for (const group of groups.filter(({ length }) => length > 0)) {
      let rows: readonly Row[] = [];
      const streams = Math.max(16, ...group.map(streamsOf));
      await compare({ model, format, streams }, group, (soFar) => {
        rows = soFar; // written at once: what comes later may fail
        writeFileSync(flags.result, `${JSON.stringify(joinResults(results, { ...run, rows }, flags.add), null, 1)}\n`);
      });
      results = joinResults(results, { ...run, rows }, flags.add);
      process.stdout.write(`${resultTables({ rows })}\n`);
    }
  }
}
say(`written to ${flags.result}; node scripts/readme-tables.mjs takes it into the README and the plot`);
