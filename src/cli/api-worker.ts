/**
 * An API thread beside the main one: sockets, JSON, templates, tokens and events of its own, in front of the one engine. The entry file of the workers
 * that `api-threads.ts` starts.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { openPort } from '../api/port.js';
import type { ServedModel } from '../api/served-model.js';
import { createServer, type HttpServer } from '../api/server.js';
import { DiskCache } from '../cache/disk-cache.js';
import { EnginePort } from '../engine/engine-port.js';
import { LockstepError } from '../errors.js';
import { silentLogger } from '../log.js';
import type { ApiTask, Command, Numbered, Report } from './api-messages.js';
import { describe } from './describe-model.js';
import { withLoggers } from './server-options.js';

class ApiWorker {
  readonly #task: ApiTask;
  readonly #engine: EnginePort;
  readonly #model: ServedModel;
  #server: HttpServer | null = null;

  static async load(task: ApiTask): Promise<ApiWorker> {
    const engine = new EnginePort(task.link);
    const cache = task.cache && new DiskCache({ ...task.cache, logger: silentLogger });
    return new ApiWorker(task, engine, await describe({ ...task, engine, cache }, task.options));
  }

  private constructor(task: ApiTask, engine: EnginePort, model: ServedModel) {
    this.#task = task;
    this.#engine = engine;
    this.#model = model;
  }

  /** From the first connection on requests are taken. */
  async listen({ port, backend, descriptor }: Command & { kind: 'listen' }): Promise<void> {
    const options = withLoggers(this.#task.serverOptions);
    this.#engine.open();
    const listening = await openPort({ ...options, port, backend, sharing: { descriptor } });
    this.#server = await createServer(options, listening, this.#task.place);
    this.#server.setModel(this.#model);
  }

  async drain(timeoutMs: number): Promise<boolean> {
    return (await this.#server?.drain(timeoutMs)) ?? true;
  }

  /** With all sockets: what uWebSockets.js has closed is gone a turn of the event loop later. */
  async close(flushMs?: number): Promise<void> {
    await this.#server?.close(flushMs);
    await turn();
    await turn();
  }

  fail(reason: string): void {
    this.#engine.fail(reason);
  }
}

let worker: ApiWorker | null = null;

/** A drain's answer; true of all else. */
async function run(command: Command & { kind: 'load' | 'listen' | 'drain' | 'close' }): Promise<boolean> {
  if (command.kind === 'load') worker = await ApiWorker.load(command.task);
  else if (command.kind === 'listen') await worker!.listen(command);
  else if (command.kind === 'drain') return worker!.drain(command.timeoutMs);
  else await worker?.close(command.flushMs);
  return true;
}

const report = (message: Report) => parentPort!.postMessage(message);

function refuse(number: number, error: unknown): void {
  if (!(error instanceof LockstepError)) throw error;
  const { code, message, param } = error;
  report({ kind: 'refused', number, code, message, param });
}

parentPort!.on('message', ({ number, command }: Numbered) => {
  if (command.kind === 'fail') return worker?.fail(command.reason);
  run(command).then(
    (value) => report({ kind: 'done', number, value }),
    (error) => refuse(number, error),
  );
});

// A thread that ended would take its connections along, and uWebSockets.js their memory while the kernel still brings more.
process.on('uncaughtException', (error) => report({ kind: 'fault', reason: error.stack ?? error.message }));
