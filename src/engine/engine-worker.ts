/** The engine's thread: the scheduler over the shared buffers, and its loop. The entry file of the worker that `engine-thread.ts` starts. */
import { randomBytes } from 'node:crypto';
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { GroupGrammars } from '../parallel/grammars.js';
import { RankFault, StepDriver } from '../parallel/step-driver.js';
import type { SchedulerOptions } from '../scheduler/options.js';
import { Scheduler } from '../scheduler/scheduler.js';
import { stepBuffers } from '../step/buffers.js';
import type { StepDims } from '../step/layout.js';
import { Engine } from './engine.js';
import type { ToEngine } from './messages.js';

export interface EngineStart {
  readonly dims: StepDims;
  readonly shared: SharedArrayBuffer;
  readonly scheduler: SchedulerOptions;
  readonly seed: number | null;
  /** One for each thread that asks. */
  readonly ports: readonly MessagePort[];
  /** Handle of the native group. */
  readonly group: number;
  readonly counters: SharedArrayBuffer;
  readonly phaseTimes: SharedArrayBuffer;
}

function run({ dims, shared, scheduler, seed, ports, group, counters, phaseTimes }: EngineStart): void {
  const buffers = stepBuffers(dims, shared);
  const engine = new Engine({
    buffers,
    scheduler: new Scheduler(buffers, scheduler),
    ranks: new StepDriver(buffers),
    numPorts: ports.length,
    receive: () => receiveFrom(ports),
    send: (port, batch) => ports[port]!.postMessage(batch, [batch.records.buffer as ArrayBuffer]),
    grammars: new GroupGrammars(group),
    counters: new Float64Array(counters),
    phaseTimes: new Float64Array(phaseTimes),
    drawSeed: seed === null ? () => randomBytes(8).readBigUInt64LE() : seedSequence(seed),
  });
  try {
    engine.run();
  } catch (error) {
    // The owner of the ranks knows why and has told the client.
    if (!(error instanceof RankFault)) throw error;
  } finally {
    for (const port of ports) port.close();
  }
}

function receiveFrom(ports: readonly MessagePort[]): ToEngine | undefined {
  for (const port of ports) {
    const received = receiveMessageOnPort(port);
    if (received !== undefined) return received.message as ToEngine;
  }
  return undefined;
}

/** Splitmix64's increment: consecutive requests get seeds that have little in common (Steele, Lea, Flood 2014). */
function seedSequence(first: number): () => bigint {
  let next = BigInt(first);
  return () => {
    next = BigInt.asUintN(64, next + 0x9e3779b97f4a7c15n);
    return next;
  };
}

parentPort?.once('message', (start: EngineStart) => run(start));
