/**
 * scripts/gpu-check, in the folder that it makes: everything that can be asked of one GPU, in eight minutes. Native code is in build/Release/ of
 * that folder, whose built.json says what it is.
 *
 *   gpu-check [--out FOLDER] [--torch FILE] [--roots FOLDER:…] [--only WORD] [--seconds N]
 *
 * FOLDER gets gpu-check.json and gpu-check.md. FILE is what scripts/gpu-check-torch.py wrote on the same machine. Below the roots libcublasLt is
 * looked for, beside where it is looked for anyway. WORD: parts that have it in their name, and no others. N: of the whole, 480 unless set.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadAddon } from '../../src/addon/load.js';
import type { PartOptions } from './part.js';
import { type Part, type PartResult, runPart } from './parts.js';
import { type Machine, makeReport, type TorchFigures, toMarkdown } from './report.js';

/** Of the folder that scripts/gpu-check.mjs makes. */
interface Built {
  readonly emulated: boolean;
  readonly version: string;
}

/** For the report and for what is on its way when time is over. */
const reserveSeconds = 8;
const figureSeconds = 2;

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: '.' },
    torch: { type: 'string' },
    roots: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '480' },
  },
});
const folder = resolve(process.cwd());
const built = JSON.parse(readFileSync('built.json', 'utf8')) as Built;
const out = resolve(process.env['GPU_CHECK_FROM'] ?? '.', values.out);
const torch: TorchFigures =
  values.torch === undefined ? {} : JSON.parse(readFileSync(resolve(process.env['GPU_CHECK_FROM'] ?? '.', values.torch), 'utf8')).figures;
const environments = [process.env['VIRTUAL_ENV'], process.env['CONDA_PREFIX']];
const roots = [...environments, ...values.roots.split(':')].filter((root): root is string => root !== undefined && root !== '');
const native = (name: string) => join(folder, 'build/Release', name);

/** One device is enough, and another may be at work; streams of several ranks there must not share a queue. */
const env = {
  ...process.env,
  CUDA_VISIBLE_DEVICES: process.env['CUDA_VISIBLE_DEVICES'] ?? '0',
  CUDA_DEVICE_MAX_CONNECTIONS: '32',
  ...(built.emulated && { EMULATED_NCCL: 'kernels' }),
};

function nvidiaSmi(): string | null {
  const fields = 'clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu,driver_version';
  const { status, stdout } = spawnSync('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader', '--id=0'], {
    encoding: 'utf8',
    timeout: 5000,
  });
  return status === 0 ? stdout.trim() : null;
}

function machine(before: string | null): Machine {
  const addon = loadAddon();
  const { devices, driverVersion, runtimeVersion } = addon.devices();
  const { nccl, cublasLt } = addon.deviceLibraries({ roots, nccl: '', cublasLt: '' });
  const { name, capability, multiprocessors, memoryBytes } = devices[0]!;
  const versions = {
    Lockstep: built.version,
    Node: process.version,
    'CUDA of the driver': String(driverVersion ?? 'none'),
    'CUDA of this build': String(runtimeVersion),
    cuBLASLt: cublasLt.version === null ? 'not found' : String(cublasLt.version),
    NCCL: nccl.version === null ? 'not found' : String(nccl.version),
  };
  return {
    device: name,
    capability,
    multiprocessors,
    memoryBytes,
    clocks: { before, after: built.emulated ? null : nvidiaSmi() },
    versions,
  };
}

function partOf(name: string, kind: Part['kind'], seconds: number, results: readonly PartResult[]): Part {
  const [first] = name.split(' ');
  if (first === 'operations') return { name, kind, seconds, command: [native('lockstep_gpu_check'), 'checks'] };
  if (first === 'probes') {
    const small = built.emulated ? ['small'] : [];
    return { name, kind, seconds, command: [native('lockstep_gpu_check'), 'probes', roots.join(':') || '/', ...small] };
  }
  const probed = (figure: string) =>
    results.flatMap(({ lines }) => lines.flatMap((line) => ('figure' in line && line.figure === figure ? [line.value] : [])))[0] ?? null;
  const options: PartOptions = {
    roots,
    nccl: native('liblockstep_fake_nccl.so'),
    roof: { copyGBs: probed('copy'), productTflops: probed('product') },
    seconds: built.emulated ? 0.2 : figureSeconds,
    small: built.emulated,
  };
  return { name, kind, seconds, command: [process.execPath, join(folder, 'dist/test/gpu/part.js'), name, JSON.stringify(options)] };
}

/** In this order: what is cheap to find wrong first. Seconds are bounds, and a device should take far less. */
const all: readonly (readonly [name: string, kind: Part['kind'], seconds: number])[] = [
  ['operations', 'checks', 60],
  ['goldens', 'checks', 60],
  ['sameness', 'checks', 45],
  ['ranks', 'checks', 75],
  ['probes', 'figures', 50],
  ...(built.emulated
    ? ([['figures tiny', 'figures', 30]] as const)
    : (['8B', '0.5B', '135M', '7B'] as const).map((shape) => [`figures ${shape}`, 'figures', 60] as const)),
];

const { problem } = loadAddon().devices();
if (problem !== null) {
  process.stderr.write(`gpu-check: there is no GPU to check: ${problem}\n`);
  process.exit(1);
}
const startedAt = new Date().toISOString();
const startMs = performance.now();
const secondsGone = () => (performance.now() - startMs) / 1000;
const before = built.emulated ? null : nvidiaSmi();
const results: PartResult[] = [];
/** An emulated device is as slow as the machine is busy. */
const patience = built.emulated ? 3 : 1;
for (const [name, kind, seconds] of all.filter(([name]) => name.includes(values.only))) {
  const result = await runPart(
    partOf(name, kind, patience * seconds, results),
    Number(values.seconds) - reserveSeconds - secondsGone(),
    env,
  );
  process.stderr.write(`gpu-check: ${name}: ${result.status}, ${result.seconds.toFixed(1)} s\n`);
  results.push(result);
}
const report = makeReport(results, machine(before), { emulated: built.emulated, startedAt, seconds: secondsGone(), torch });
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'gpu-check.json'), `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(join(out, 'gpu-check.md'), toMarkdown(report));
for (const failure of report.failures) process.stderr.write(`gpu-check: FAILED: ${failure}\n`);
process.stderr.write(`gpu-check: ${report.passed ? 'passed' : 'failed'}, ${report.seconds.toFixed(0)} s; ${join(out, 'gpu-check.md')}\n`);
process.exit(report.passed && results.length > 0 ? 0 : 1);
