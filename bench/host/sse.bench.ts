/**
 * What streaming costs the host: chat requests over an engine that makes a token for every stream at each step, read by a client in a
 * process of its own. Prints events a CPU second of the server (all its threads), for both implementations of the exchange.
 *
 *   node dist/bench/host/sse.bench.js [events a stream]
 */
import { fork } from 'node:child_process';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { loadUws } from '../../src/api/exchange-uws.js';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { createServer } from '../../src/api/server.js';
import type { EngineClient, RequestEvents } from '../../src/engine/client.js';
import type { GenerationRequest } from '../../src/engine/request.js';

const self = fileURLToPath(import.meta.url);
const connectionCounts = [64, 256, 1024];

/** One token for every running request at each turn of the event loop, delivered as one batch, as the engine does. */
function batchEngine(numStreams: number): EngineClient {
  const running: { request: GenerationRequest; events: RequestEvents; position: number }[] = [];
  const letter = Int32Array.of(97);
  const step = () => {
    for (const entry of running) {
      const { request, events } = entry;
      events.tokens({ choice: 0, ids: letter, logprobs: null });
      if (++entry.position < request.stop.maxTokens) continue;
      events.end({ choice: 0, finishReason: 'length', stopTokenId: null, message: null });
      events.closed();
    }
    if (running[0]!.position < running[0]!.request.stop.maxTokens) setImmediate(step);
  };
  const idle = new FakeEngine();
  return {
    submit(request, events) {
      running.push({ request, events, position: 0 });
      if (running.length === numStreams) setImmediate(step);
    },
    abort: () => undefined,
    finishChoice: () => undefined,
    counters: () => idle.counters(),
    state: () => 'ready',
  };
}

/** The child: opens the streams, reads until each has ended. */
async function readStreams(port: number, numStreams: number, numEvents: number): Promise<void> {
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: numEvents, stream: true });
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(head + body));
      let tail = '';
      socket.on('error', reject);
      socket.on('data', (data) => {
        tail = (tail + data.toString('latin1', Math.max(0, data.length - 32))).slice(-32);
        if (!tail.includes('[DONE]')) return;
        socket.destroy();
        resolve();
      });
    });
  await Promise.all(Array.from({ length: numStreams }, one));
}

async function measure(backend: 'uws' | 'node', numStreams: number, numEvents: number): Promise<void> {
  const server = await createServer({ host: '127.0.0.1', port: 0, backend });
  server.setModel(fakeModel(batchEngine(numStreams), { maxModelLen: 1 << 20 }));
  const client = fork(self, ['read', String(server.port), String(numStreams), String(numEvents)]);
  const before = process.cpuUsage();
  const start = performance.now();
  const code = await new Promise<number | null>((resolve) => client.on('exit', resolve));
  const { user, system } = process.cpuUsage(before);
  const wall = (performance.now() - start) / 1000;
  await server.close();
  if (code !== 0) throw new Error(`the client ended with ${code}`);
  const events = numStreams * numEvents;
  const cpu = (user + system) / 1e6;
  const perEvent = ((user + system) / events).toFixed(1);
  console.log(
    `${backend.padEnd(4)} ${String(numStreams).padStart(5)} streams: ${Math.round(events / cpu / 1000)} k events a CPU second ` +
      `(${perEvent} us each: ${(user / events).toFixed(1)} user, ${(system / events).toFixed(1)} system), ${Math.round(events / wall / 1000)} k a second`,
  );
}

if (process.argv[2] === 'read') {
  await readStreams(Number(process.argv[3]), Number(process.argv[4]), Number(process.argv[5]));
} else {
  const numEvents = Number(process.argv[2] ?? 400);
  for (const backend of ['uws', 'node'] as const) {
    if (backend === 'uws' && loadUws().module === null) continue;
    for (const numStreams of connectionCounts) await measure(backend, numStreams, numEvents);
  }
}
