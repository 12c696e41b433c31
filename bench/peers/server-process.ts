/** A server that is compared: how it is started, when its first token came, what memory it holds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { readResult, streamRequest } from '../stream-client.js';

export interface ServerCommand {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Beside those of this process. */
  readonly env: Readonly<Record<string, string>>;
  readonly port: number;
}

export interface RunningServer {
  readonly baseUrl: string;
  /** From the start of the process to its first token, ms; null: it was running already. */
  readonly firstTokenMs: number | null;
  /** The process, which leads a group of its own; null: somebody else's. */
  readonly pid: number | null;
  /** Bytes in memory. Linux. */
  residentBytes(): number;
  /** Takes it off the cores, and lets it on again: an idle vLLM has a hundredth of them, and half a second of both after a request. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

const startTimeoutMs = 400_000;
const stopTimeoutMs = 10_000;
const pollMs = 10;
const logKept = 4000;
const prompt = 'Hello world';

/** Starts the server and waits for its first token. Throws with the end of its log when that does not come. */
export async function startServer({ name, program, args, env, port }: ServerCommand): Promise<RunningServer> {
  const baseUrl = `http://127.0.0.1:${port}`;
  const startMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env }, detached: true });
  const kill = () => signalGroup(child, 'SIGKILL');
  process.once('exit', kill); // also after a signal: see compare.ts
  child.once('exit', () => process.off('exit', kill));
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-logKept);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', (error) => keep(Buffer.from(error.message)));
  for (;;) {
    const error = await firstTokenFault(baseUrl);
    if (error === null) break;
    if (child.pid === undefined || child.exitCode !== null || performance.now() - startMs > startTimeoutMs) {
      kill();
      throw new Error(`${name} did not answer (${error}):\n${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const firstTokenMs = performance.now() - startMs;
  return {
    baseUrl,
    firstTokenMs,
    pid: child.pid!,
    residentBytes: () => residentBytes(child),
    pause: () => signalGroup(child, 'SIGSTOP'),
    resume: () => signalGroup(child, 'SIGCONT'),
    stop: () => stop(child),
  };
}

/** A server that somebody else has started. */
export async function attachServer(name: string, baseUrl: string): Promise<RunningServer> {
  const error = await firstTokenFault(baseUrl);
  if (error !== null) throw new Error(`${name} at ${baseUrl} does not answer: ${error}`);
  const nothing = () => {};
  return { baseUrl, firstTokenMs: null, pid: null, residentBytes: () => Number.NaN, pause: nothing, resume: nothing, stop: async () => {} };
}

async function firstTokenFault(baseUrl: string): Promise<string | null> {
  const endpoint = { url: new URL(`${baseUrl}/v1/completions`), headers: {}, timeoutMs: 30_000 };
  return readResult(await streamRequest(endpoint, JSON.stringify({ model: 'm', prompt, max_tokens: 1, stream: true }))).error;
}

function residentBytes(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) * 1024;
}

/** The server and what it has started. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // It has ended.
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  signalGroup(child, 'SIGCONT');
  child.kill('SIGTERM');
  const kill = setTimeout(() => signalGroup(child, 'SIGKILL'), stopTimeoutMs);
  await once(child, 'exit');
  clearTimeout(kill);
  signalGroup(child, 'SIGKILL'); // workers that outlive their parent
}
