/** `lockstep doctor`: what was found on this machine, and what was not and why. One line a fact; nothing is changed. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import type { NativeDeviceLibraries, NativeDevices, NativeInfo, NativeLibrary } from '../addon/binding.js';
import { loadAddon } from '../addon/load.js';
import { loadUws } from '../api/exchange-uws.js';
import { cacheEntries, cacheFolder } from '../cache/disk-cache.js';
import { availableMemoryBytes } from '../parallel/devices.js';
import { libraryRoots } from './environment.js';

export interface Finding {
  readonly name: string;
  readonly value: string;
  /** What it means, or what to do. */
  readonly remark: string;
  /** false: `lockstep serve` cannot run. */
  readonly isFine: boolean;
}

const fine = (name: string, value: string, remark = ''): Finding => ({ name, value, remark, isFine: true });

/** The flags of `lockstep doctor`: files of libraries; null: they are searched for. */
export interface DoctorOptions {
  readonly ncclLibrary: string | null;
  readonly cublasltLibrary: string | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function examine(options: DoctorOptions, environment: Environment): readonly Finding[] {
  return [node(), http(), ...native(options, environment), cores(), memory(), hugePages(), cache()];
}

export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length)) + 2;
  const lines = findings.map(({ name, value, remark, isFine }) => {
    const mark = isFine ? '  ' : '! ';
    return `${mark}${name.padEnd(width)}${value}${remark === '' ? '' : ` (${remark})`}\n`;
  });
  const wrong = findings.filter(({ isFine }) => !isFine);
  const verdict =
    wrong.length === 0 ? 'lockstep serve can run here' : `lockstep serve cannot run here: ${wrong.map(({ name }) => name).join(', ')}`;
  return `${lines.join('')}\n${verdict}\n`;
}

const text = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
};

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isFine = major > 20 || (major === 20 && minor >= 19);
  return { name: 'Node.js', value: process.version, remark: isFine ? '' : '20.19 or newer is needed', isFine };
}

function http(): Finding {
  const uws = loadUws();
  if (uws.module !== null) return fine('HTTP', 'uWebSockets.js');
  return fine('HTTP', 'node:http', `uWebSockets.js does not load: ${uws.reason}`);
}

function native(options: DoctorOptions, environment: Environment): readonly Finding[] {
  let info: NativeInfo;
  let devices: NativeDevices & NativeDeviceLibraries;
  try {
    info = loadAddon().info();
    const query = { roots: libraryRoots(environment), nccl: options.ncclLibrary ?? '', cublasLt: options.cublasltLibrary ?? '' };
    devices = { ...loadAddon().devices(), ...loadAddon().deviceLibraries(query) };
  } catch (error) {
    return [{ name: 'native addon', value: 'not loaded', remark: (error as Error).message, isFine: false }];
  }
  const asked = environment['LOCKSTEP_ISA'];
  return [
    fine('native addon', `loaded, ${info.compiler}`),
    fine(
      'instruction set',
      info.isa,
      `kernels that this CPU can run: ${info.available.join(', ')}${asked ? `; LOCKSTEP_ISA=${asked}` : ''}`,
    ),
    ...cudaFindings(devices, text('/proc/driver/nvidia/version')?.split('\n')[0] ?? null),
  ];
}

const cudaVersion = (version: number) => `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
/** NCCL: 22809 is 2.28.9; cuBLASLt: 130002 is 13.0.2. */
const libraryVersion = (version: number) => `${Math.floor(version / 10000)}.${Math.floor(version / 100) % 100}.${version % 100}`;

/** GPUs and the libraries for them. None of it is needed to serve on the CPU. `driver`: how the kernel names it; null: it has none. */
export function cudaFindings(found: NativeDevices & NativeDeviceLibraries, driver: string | null): readonly Finding[] {
  const runtime = found.runtimeVersion === null ? 'not in this build' : `runtime ${cudaVersion(found.runtimeVersion)}`;
  const knows = found.driverVersion === null ? '' : `, driver for CUDA up to ${cudaVersion(found.driverVersion)}`;
  const problem = found.problem === null ? '' : found.problem;
  const findings = [fine('CUDA', `${runtime}${knows}`, [problem, driver ?? ''].filter((part) => part !== '').join('; '))];
  for (const [i, device] of found.devices.entries()) {
    const peers = found.peers[i]?.flatMap((can, peer) => (can ? [peer] : [])) ?? [];
    const reaches = found.devices.length === 1 ? '' : peers.length === 0 ? '; reaches no other device' : `; reaches ${peers.join(', ')}`;
    const place = `${device.busId}, compute ${device.capability}, ${device.multiprocessors} multiprocessors`;
    findings.push(fine(`GPU ${i}`, `${device.name}, ${gigabytes(device.memoryBytes)}`, `${place}${reaches}`));
  }
  findings.push(library('NCCL', found.nccl), library('cuBLASLt', found.cublasLt));
  return findings;
}

function library(name: string, { version, path, refused }: NativeLibrary): Finding {
  const others = refused.length > 0 ? `not taken: ${refused.join('; ')}` : '';
  return version === null
    ? fine(name, 'not found', others)
    : fine(name, libraryVersion(version), [path, others].filter(Boolean).join('; '));
}

/** Cores that this process may use, and who says so. */
function cores(): Finding {
  const usable = availableParallelism();
  const quota = cgroupCores();
  const limit = quota === null ? '' : `, the cgroup's quota is ${quota.toFixed(2)}`;
  const model = cpus()[0]?.model.trim() ?? 'unknown';
  return fine('CPU', `${model}, ${usable} cores`, `${cpus().length} in the machine${limit}`);
}

/** Cores that the cgroup's quota amounts to; null: no quota. */
function cgroupCores(): number | null {
  const [quota, period] = (text('/sys/fs/cgroup/cpu.max') ?? 'max').split(' ');
  if (quota !== 'max') return Number(quota) / Number(period);
  const older = Number(text('/sys/fs/cgroup/cpu/cpu.cfs_quota_us') ?? -1);
  return older > 0 ? older / Number(text('/sys/fs/cgroup/cpu/cpu.cfs_period_us')) : null;
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

function memory(): Finding {
  const limit = text('/sys/fs/cgroup/memory.max') ?? text('/sys/fs/cgroup/memory/memory.limit_in_bytes');
  const isLimited = limit !== null && limit !== 'max' && Number(limit) < totalmem();
  return fine(
    'memory',
    `${gigabytes(availableMemoryBytes())} free of ${gigabytes(totalmem())}`,
    isLimited ? `the cgroup allows ${gigabytes(Number(limit))}` : '',
  );
}

function hugePages(): Finding {
  const mode = /\[(\w+)\]/.exec(text('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1];
  if (mode === undefined) return fine('huge pages', 'unknown', 'the kernel does not say');
  return fine('huge pages', mode, mode === 'never' ? 'weights lie in small pages, which costs some speed' : 'transparent');
}

/** What starts keep for the next ones. */
function cache(): Finding {
  const folder = cacheFolder(process.env);
  if (folder === null) return fine('cache', 'none', 'there is no home folder; LOCKSTEP_CACHE names another');
  const entries = cacheEntries(folder);
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  return fine(
    'cache',
    `${folder}, ${entries.length} entries, ${gigabytes(bytes)}`,
    entries.length > 0 ? '`lockstep cache clear` empties it' : '',
  );
}
