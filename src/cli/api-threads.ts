/** The API threads beside the main one (`--api-server-count`): starts them, has them listen at its port, and ends them with it. */
import { setTimeout as delay } from 'node:timers/promises';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { loadAddon } from '../addon/load.js';
import type { HttpServer } from '../api/server.js';
import type { SharedState } from '../api/threads/shared-state.js';
import { LockstepError } from '../errors.js';
import type { Logger } from '../log.js';
import { usableCores } from '../parallel/devices.js';
import type { Command, Numbered, Report } from './api-messages.js';
import type { ServeOptions } from './options.js';
import type { PlainServerOptions } from './server-options.js';
import type { StartedEngine } from './start-engine.js';

interface Loading {
  readonly options: ServeOptions;
  readonly serverOptions: PlainServerOptions;
  readonly shared: SharedState;
  readonly started: StartedEngine;
}

/** How long the process waits for its threads to close their sockets before it ends. */
const endMsMax = 300;

export class ApiThreads {
  readonly #threads: readonly ApiThread[];
  /** The main thread's ends of their ways to it. */
  readonly #homes: MessagePort[] = [];
  #serves = false;

  /** `onFault`: a thread that served has failed. `entry`: what they run. */
  constructor(count: number, onFault: (reason: string) => void, entry = new URL('./api-worker.js', import.meta.url)) {
    const onServing = (reason: string) => {
      if (this.#serves) onFault(reason);
    };
    this.#threads = Array.from({ length: count }, (_, i) => new ApiThread(i + 1, onServing, entry));
  }

  /** More threads that answer than cores. */
  warnOfCrowding(logger: Pick<Logger, 'warn'>, cores = usableCores()): void {
    const count = this.#threads.length + 1;
    if (count <= cores) return;
    logger.warn(
      `--api-server-count ${count} is more than there are cores (${cores}): the threads take time from each other and from the model`,
    );
  }

  /** Each reads its tokenizer and template. Rejects with a start error as the main thread would. */
  async load({ options, serverOptions, shared, started: { name, model, dims, placement, cache, links } }: Loading): Promise<void> {
    const all = { options, serverOptions, name, model, dims, placement, cache: cache?.place ?? null };
    const loaded = this.#threads.map((thread, i) => {
      const { port1, port2: home } = new MessageChannel();
      this.#homes.push(port1);
      const link = links[i]!;
      return thread.tell({ kind: 'load', task: { ...all, link, place: { index: i + 1, shared, home } } }, [link.port, home]);
    });
    await Promise.all(loaded);
  }

  /** At the port of the main thread's server, whose model is set. */
  async listen(server: HttpServer): Promise<void> {
    const { port, backend, descriptor } = server;
    for (const home of this.#homes) server.serveThread(home);
    const copy = () => (descriptor === null ? null : loadAddon().duplicateDescriptor(descriptor));
    await Promise.all(this.#threads.map((thread) => thread.tell({ kind: 'listen', port, backend, descriptor: copy() })));
    this.#serves = true;
    for (const { failure } of this.#threads) if (failure !== null) throw failure; // of one that had nothing to answer then
  }

  /** As `HttpServer.drain`, of all of them. One that fails meanwhile has not ended well. */
  async drain(timeoutMs: number): Promise<boolean> {
    const drained = await Promise.all(this.#threads.map((thread) => thread.tell({ kind: 'drain', timeoutMs }).catch(() => false)));
    return !drained.includes(false);
  }

  async close(flushMs?: number): Promise<void> {
    await Promise.allSettled(this.#threads.map((thread) => thread.tell({ kind: 'close', flushMs })));
  }

  /** The engine has failed: every request ends with an error. */
  fail(reason: string): void {
    for (const thread of this.#threads) thread.send({ kind: 'fail', reason });
  }

  /** At once, before the process ends: Node aborts where a thread ends that has sockets of uWebSockets.js open. */
  async end(): Promise<void> {
    if (this.#threads.length === 0) return;
    await Promise.race([this.close(0), delay(endMsMax)]);
  }

  /** Nothing was served, or no more is. */
  async terminate(): Promise<void> {
    await this.end();
    for (const home of this.#homes) home.close();
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }
}

interface Waiting {
  readonly resolve: (value: boolean) => void;
  readonly reject: (error: Error) => void;
}

class ApiThread {
  readonly #worker: Worker;
  /** For answers, by number of the command. */
  readonly #waiting = new Map<number, Waiting>();
  #numCommands = 0;
  failure: Error | null = null;

  constructor(index: number, onFault: (reason: string) => void, entry: URL) {
    this.#worker = new Worker(entry, { name: `api-${index}` });
    const fault = (reason: string) => {
      this.failure = new Error(`API thread ${index}: ${reason}`);
      for (const { reject } of this.#waiting.values()) reject(this.failure);
      this.#waiting.clear();
      onFault(this.failure.message);
    };
    this.#worker.on('message', (report: Report) => this.#take(report, fault));
    this.#worker.on('error', (error) => fault(error instanceof Error ? (error.stack ?? error.message) : String(error)));
  }

  #take(report: Report, fault: (reason: string) => void): void {
    if (report.kind === 'fault') {
      fault(report.reason);
      return;
    }
    const waiting = this.#waiting.get(report.number);
    this.#waiting.delete(report.number);
    if (report.kind === 'done') {
      waiting?.resolve(report.value);
    } else {
      const { code, message, param } = report;
      waiting?.reject(new LockstepError(code, message, param === null ? {} : { param }));
    }
  }

  tell(command: Command, transfer: readonly MessagePort[] = []): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#numCommands + 1, { resolve, reject });
      this.send(command, transfer);
    });
  }

  send(command: Command, transfer: readonly MessagePort[] = []): void {
    this.#worker.postMessage({ number: ++this.#numCommands, command } satisfies Numbered, transfer);
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }
}
