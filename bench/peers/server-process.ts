/** A server that is compared: how it is started, when its first token came, what memory it holds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { readResult, streamRequest } from '../stream-client.js';

export interface ServerCommand {
  readonly name: 'llama.cpp' | 'Lockstep';
  readonly program: string;
  readonly args: readonly string[];
  readonly port: number;
  /** The name to ask for. */
  readonly model: string;
}

export interface RunningServer {
  readonly baseUrl: string;
  /** From the start of the process to its first token, ms. */
  readonly firstTokenMs: number;
  /** Bytes in memory: all of them, and those that belong to no file. Linux. */
  memory(): { readonly resident: number; readonly anonymous: number };
  stop(): Promise<void>;
}

const startTimeoutMs = 120_000;
const pollMs = 10;
const logKept = 4000;

/** Starts the server and waits for its first token. Throws with the end of its log when that does not come. */
export async function startServer({ name, program, args, port, model }: ServerCommand): Promise<RunningServer> {
  const baseUrl = `http://127.0.0.1:${port}`;
  const startMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill); // also after a signal: see compare.ts
  child.once('exit', () => process.off('exit', kill));
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-logKept);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const endpoint = { url: new URL(`${baseUrl}/v1/completions`), headers: {}, timeoutMs: 10_000 };
  const body = JSON.stringify({ model, prompt: 'Hello', max_tokens: 1, stream: true });
  for (;;) {
    const { error } = readResult(await streamRequest(endpoint, body));
    if (error === null) break;
    if (child.exitCode !== null || performance.now() - startMs > startTimeoutMs) {
      child.kill('SIGKILL');
      throw new Error(`${name} did not answer (${error}):\n${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const firstTokenMs = performance.now() - startMs;
  return { baseUrl, firstTokenMs, memory: () => memoryOf(child), stop: () => stop(child) };
}

function memoryOf(child: ChildProcess) {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const bytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? Number.NaN) * 1024;
  return { resident: bytes('VmRSS'), anonymous: bytes('RssAnon') };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await once(child, 'exit');
  clearTimeout(kill);
}
