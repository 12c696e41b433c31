/**
 * The engine's thread of the front-end bench: speaks the engine's messages over the real port, with no model behind it. Each step brings one token to
 * every stream; the next one is made when the front end has handled it (`pace`), so that tokens never pile up into one write.
 */
import { readFileSync } from 'node:fs';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { EngineStart } from '../../src/engine/engine-worker.js';
import { type Batch, counterIndex, recordLen, type ToEngine } from '../../src/engine/messages.js';
import { doorbellEpoch, waitForRing } from '../../src/parallel/channel.js';
import { finishCode } from '../../src/scheduler/output.js';
import { stepBuffers } from '../../src/step/buffers.js';

export interface FakeEngineTask {
  /** Ids that streams cycle through. */
  readonly ids: Int32Array;
  /** Requests that run together: steps begin when so many are there. */
  readonly together: number;
  /** [0] steps that the front end has handled. */
  readonly pace: Int32Array;
  /** [0] nanoseconds of CPU that this thread has taken. */
  readonly cpuTime: BigInt64Array;
}

interface Stream {
  readonly handle: number;
  readonly maxTokens: number;
  /** Where in `ids` it begins: not all streams say the same at a time. */
  readonly offset: number;
  position: number;
}

const task = workerData as FakeEngineTask;

/** Nanoseconds on a CPU, of this thread alone (Linux). */
function cpuTimeNs(): bigint {
  return BigInt(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ', 1)[0]!);
}

function run({ dims, shared, ports, counters: sharedCounters }: EngineStart): void {
  const port = ports[0]!;
  const { control } = stepBuffers(dims, shared);
  const counters = new Float64Array(sharedCounters);
  const streams = new Map<number, Stream>();
  let numSteps = 0;
  for (;;) {
    const rung = doorbellEpoch(control);
    if (!admit(port, streams)) break;
    counters[counterIndex.running] = streams.size;
    const isBegun = [...streams.values()].some(({ position }) => position > 0);
    if (streams.size === 0 || (!isBegun && streams.size < task.together)) {
      waitForRing(control, rung, 1000);
      continue;
    }
    const batch = step(streams);
    port.postMessage(batch, [batch.records.buffer as ArrayBuffer]);
    Atomics.store(task.cpuTime, 0, cpuTimeNs());
    numSteps++;
    while (Atomics.load(task.pace, 0) < numSteps) Atomics.wait(task.pace, 0, numSteps - 1, 1000);
  }
  port.close();
}

/** false: stop. */
function admit(port: MessagePort, streams: Map<number, Stream>): boolean {
  for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
    const message = got.message as ToEngine;
    if (message.kind === 'stop') return false;
    if (message.kind === 'control') throw new Error('not asked for');
    const { handle } = message;
    if (message.kind !== 'submit') streams.delete(handle);
    else streams.set(handle, { handle, maxTokens: message.request.stop.maxTokens, offset: (handle * 7919) % task.ids.length, position: 0 });
  }
  return true;
}

function step(streams: Map<number, Stream>): Batch {
  const records = new Int32Array(streams.size * (recordLen + 1));
  const prompts: Batch['prompts'][number][] = [];
  let at = 0;
  for (const stream of streams.values()) {
    const { handle, maxTokens, offset } = stream;
    if (stream.position === 0) prompts.push({ handle, cachedTokens: 0, queueMs: 0, promptLogprobs: null });
    const isLast = stream.position + 1 >= maxTokens;
    records[at] = handle;
    records[at + 2] = 1;
    records[at + 3] = isLast ? finishCode.length : finishCode.none;
    records[at + 4] = -1;
    records[at + recordLen] = task.ids[(offset + stream.position++) % task.ids.length]!;
    at += recordLen + 1;
    if (isLast) streams.delete(handle);
  }
  return { records, logprobs: [], pooled: [], prompts, errors: [], done: [] };
}

parentPort!.once('message', run);
