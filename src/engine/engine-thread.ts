/** The engine's thread: starts it, gives it ports for the threads that ask, and stops it. What goes through a port is `engine-port.ts`'s. */
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import { ringDoorbell } from '../parallel/channel.js';
import { giveTask } from '../parallel/threads.js';
import type { SchedulerOptions } from '../scheduler/options.js';
import type { StepBuffers } from '../step/buffers.js';
import { phaseStride } from '../step/layout.js';
import { startEngineThread } from './early-thread.js';
import { type EngineLink, EnginePort } from './engine-port.js';
import type { EngineStart } from './engine-worker.js';
import { firstPositionCounter, type ToEngine } from './messages.js';
import { queueMemory } from './queue-bound.js';

export interface EngineThreadOptions {
  readonly scheduler: SchedulerOptions;
  /** Sequences that may wait; a request that would make it more is refused with `queue_full`. */
  readonly queueLenMax: number;
  /** Those who may share the queue (`Share.owner`). */
  readonly numOwners: number;
  /** Threads that ask, this one included; at most `clientsMax`. */
  readonly numPorts: number;
  /** Requests without a seed of their own draw from a sequence that this begins; null: from the system's random numbers. */
  readonly seed: number | null;
  /** Handle of the ranks' native group, which keeps their grammars. */
  readonly group: number;
}

export class EngineThread {
  /** This thread's. */
  readonly client: EnginePort;
  /** For the other threads that ask, an `EnginePort` of each. */
  readonly links: readonly EngineLink[];
  readonly #port: MessagePort;
  readonly #control: Int32Array;
  readonly #exited: Promise<void>;

  /** `onFault`: the engine's own thread has failed. `thread`: one that was started early. */
  constructor(buffers: StepBuffers, options: EngineThreadOptions, onFault: (reason: string) => void, thread = startEngineThread()) {
    const { scheduler, queueLenMax, numOwners, numPorts, seed, group } = options;
    const { dims } = buffers.layout;
    const counters = new SharedArrayBuffer(8 * (firstPositionCounter + (scheduler.speculation?.maxDrafts ?? 0)));
    const phaseTimes = new SharedArrayBuffer(8 * phaseStride * dims.worldSize);
    const queue = queueMemory(numOwners);
    const channels = Array.from({ length: numPorts }, () => new MessageChannel());
    const [first, ...links] = channels.map(({ port1: port }, index): EngineLink => {
      return { port, index, control: buffers.control, counters, phaseTimes, pools: dims.pooledLen > 0, queueLenMax, queue };
    });
    this.client = new EnginePort(first!);
    this.links = links;
    this.#port = first!.port;
    this.#control = buffers.control;
    const ports = channels.map(({ port2 }) => port2);
    const start: EngineStart = { dims, shared: buffers.shared, scheduler, seed, ports, group, counters, phaseTimes };
    giveTask(thread, start, ports);
    watch(thread, onFault);
    this.#exited = new Promise((resolve) => thread.once('exit', () => resolve()));
  }

  async stop(): Promise<void> {
    this.#port.postMessage({ kind: 'stop' } satisfies ToEngine);
    ringDoorbell(this.#control);
    await this.#exited;
    this.#port.close();
  }
}

function watch(thread: Worker, onFault: (reason: string) => void): void {
  thread.on('error', (error) => onFault(`engine: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`));
}
