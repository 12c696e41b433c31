/**
 * Host time of a whole decode step on the engine's thread: schedule, plan, dispatch, collect, update, and posting the news to the API's
 * thread. Ranks that answer at once take the place of real ones. The bound is 50 us + 0.5 us a request (architecture.md §2).
 *
 *   node dist/bench/host/engine.js
 */
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { Engine } from '../../src/engine/engine.js';
import { firstPositionCounter, type ToEngine } from '../../src/engine/messages.js';
import { endsByLength, neutralSampling } from '../../src/sampling/params.js';
import { Scheduler } from '../../src/scheduler/scheduler.js';
import { stepBuffers } from '../../src/step/buffers.js';
import { entryFlag, phaseStride } from '../../src/step/layout.js';

const blockSize = 16;
const promptLen = 128;
const numSteps = 1000;
const warmupSteps = 200;

export interface EngineTimes {
  readonly numRequests: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** 50 us + 0.5 us a request. */
  readonly boundUs: number;
}

export function measureEngine(numRequests: number): EngineTimes {
  const maxSeqLen = promptLen + numSteps + warmupSteps + 64;
  const numBlocks = numRequests * Math.ceil(maxSeqLen / blockSize);
  const dims = {
    maxRows: numRequests,
    maxTokens: 8192,
    maxSeqLen,
    blockSize,
    numBlocks,
    maxDrafts: 0,
    maxLogprobs: 0,
    worldSize: 1,
    pooledLen: 0,
  };
  const buffers = stepBuffers(dims);
  const requests: ToEngine[] = Array.from({ length: numRequests }, (_, i) => ({
    kind: 'submit',
    handle: i + 1,
    request: {
      id: `request-${i}`,
      promptTokens: new Int32Array(promptLen).map((_, at) => (at * 31 + i * 17) & 1023),
      sampling: { ...neutralSampling, seed: 1n },
      stop: endsByLength(maxSeqLen),
      priority: 0,
      cacheSalt: null,
    },
  }));
  let dispatched = 0;
  const ranks = {
    dispatch(epoch: number) {
      const plan = buffers.plans[epoch & 1]!;
      const result = buffers.results[epoch & 1]!;
      result.resultHeader[0] = epoch;
      for (let i = 0; i < plan.planHeader[1]!; i++) {
        result.numSampled[i] = plan.entryFlags[i]! & entryFlag.sample;
        result.sampledIds[i] = (i * 7 + plan.startPosition[i]!) & 1023;
      }
      dispatched = epoch;
    },
    collect: () => buffers.results[dispatched & 1]!,
  };
  const { port1, port2 } = new MessageChannel();
  const times: number[] = [];
  let turnMs = 0;
  const engine = new Engine({
    buffers,
    ranks,
    scheduler: new Scheduler(buffers, {
      maxNumSeqs: numRequests,
      enablePrefixCaching: true,
      chunkedPrefill: true,
      longPrefillThreshold: 0,
      policy: 'fcfs',
      watermark: 0,
      maxInFlight: 2,
    }),
    numPorts: 1,
    // Called first in every turn: the time since the call before is a turn, and the other thread's reading is not part of it.
    receive() {
      if (requests.length > 0) return requests.pop();
      if (turnMs > 0) times.push((performance.now() - turnMs) * 1000);
      while (receiveMessageOnPort(port2) !== undefined);
      turnMs = performance.now();
      return times.length > numSteps + warmupSteps ? { kind: 'stop' } : undefined;
    },
    send: (_port, batch) => port1.postMessage(batch, [batch.records.buffer as ArrayBuffer]),
    grammars: { acquire: () => 0, release: () => undefined, know: () => undefined },
    counters: new Float64Array(firstPositionCounter),
    phaseTimes: new Float64Array(phaseStride),
    drawSeed: () => 1n,
  });
  engine.run();
  port1.close();
  const sorted = times.slice(-numSteps).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  return { numRequests, p50Us: at(0.5), p99Us: at(0.99), boundUs: 50 + 0.5 * numRequests };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log('requests    p50 us    p99 us  bound us');
  for (const n of [1, 64, 256, 1024]) {
    const { p50Us, p99Us, boundUs } = measureEngine(n);
    console.log([String(n).padStart(8), ...[p50Us, p99Us, boundUs].map((us) => us.toFixed(1).padStart(9))].join(' '));
  }
}
