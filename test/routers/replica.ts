/** A server of the bundled model at a port that it keeps when it is started anew. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What the replicas ask of whom they serve. */
export const replicaKey = 'key-of-the-replicas';
export const servedName = 'lockstep';
/** For one condition, on a machine that has other work. */
const waitMs = 180_000;
const logTail = 3000;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** Asks until it holds; an error is a no. Fails after a while, or when the program `of` has ended. */
export async function until(what: string, holds: () => Promise<boolean>, of?: Program): Promise<void> {
  const deadline = Date.now() + waitMs;
  while (!(await holds().catch(() => false))) {
    assert.ok(Date.now() < deadline, `not within ${waitMs / 1000} s: ${what}\n${of?.said ?? ''}`);
    assert.ok(of?.isRunning !== false, `has ended: ${what}\n${of?.said}`);
    await delay(50);
  }
}

/** A program with the end of what it has said. */
export class Program {
  readonly process: ChildProcess;
  said = '';

  constructor(file: string, argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.process = spawn(file, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    for (const stream of [this.process.stdout!, this.process.stderr!])
      stream.on('data', (chunk) => {
        this.said = (this.said + chunk).slice(-logTail);
      });
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Its exit status, or null where a signal has ended it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (!this.isRunning) return this.process.exitCode;
    const exit = once(this.process, 'exit') as Promise<[number | null]>;
    this.process.kill(signal);
    return (await exit)[0];
  }
}

export class Replica {
  readonly origin: string;
  readonly #port: number;
  #program: Program | null = null;

  private constructor(port: number) {
    this.#port = port;
    this.origin = `http://127.0.0.1:${port}`;
  }

  static async create(): Promise<Replica> {
    const replica = new Replica(await freePort());
    await replica.start();
    return replica;
  }

  async start(): Promise<void> {
    const argv = ['dist/src/cli/main.js', 'serve', '--host', '127.0.0.1', '--port', String(this.#port)];
    const flags = ['--served-model-name', servedName, '--stream-interval', '10'];
    this.#program = new Program(process.execPath, [...argv, ...flags], { LOCKSTEP_API_KEY: replicaKey });
    await until(`${this.origin} serves`, async () => (await fetch(`${this.origin}/health`)).ok, this.#program);
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    return (await this.#program?.end(signal)) ?? null;
  }

  /** The sum of a metric's samples, of those with such a label where one is given. */
  async metric(name: string, label = ''): Promise<number> {
    const text = await (await fetch(`${this.origin}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(label));
    assert.ok(samples.length > 0, `no ${name}`);
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}
