import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { endsByLength, neutralSampling } from '../sampling/params.js';
import { phaseStride } from '../step/layout.js';
import type { RequestEvents } from './client.js';
import { EnginePort } from './engine-port.js';
import { counterIndex, firstPositionCounter, portOf, type ToEngine } from './messages.js';
import { News } from './news.js';
import { queueMemory } from './queue-bound.js';

const queueLenMax = 8;
let ends: MessagePort[] = [];
afterEach(() => {
  for (const end of ends) end.close();
});

/** Ports of several threads, and the engine's ends of them. */
function createPorts(numPorts: number) {
  const counters = new SharedArrayBuffer(8 * firstPositionCounter);
  const phaseTimes = new SharedArrayBuffer(8 * phaseStride * 2);
  const queue = queueMemory(1);
  const control = new Int32Array(new SharedArrayBuffer(1024));
  const channels = Array.from({ length: numPorts }, () => new MessageChannel());
  const ports = channels.map(({ port1: port }, index) => {
    const client = new EnginePort({ port, index, control, counters, phaseTimes, pools: false, queueLenMax, queue });
    client.open();
    return client;
  });
  ends = channels.map(({ port2 }) => port2);
  return { ports, counters: new Float64Array(counters), phaseTimes: new Float64Array(phaseTimes) };
}

const requestOf = (id: string) => {
  const sampling = { ...neutralSampling, n: 1 };
  return { id, promptTokens: Int32Array.of(1), sampling, stop: endsByLength(5), priority: 0, cacheSalt: null };
};

function listener() {
  const heard: unknown[] = [];
  let tell = () => {};
  const closed = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const events: RequestEvents = {
    prompt: ({ queueMs }) => heard.push(queueMs),
    tokens: ({ ids }) => heard.push(...ids),
    end: ({ finishReason }) => heard.push(finishReason),
    closed() {
      heard.push('closed');
      tell();
    },
  };
  return { heard, events, closed };
}

const received = (port: MessagePort) => receiveMessageOnPort(port)!.message as ToEngine;

test('requests of two threads have different handles, which say whose they are, and each hears of its own', async () => {
  const { ports } = createPorts(2);
  const listeners = ports.map(listener);
  for (const [i, port] of ports.entries()) port.submit(requestOf('same'), listeners[i]!.events);
  const handles = ends.map((end) => {
    const message = received(end);
    return message.kind === 'submit' ? message.handle : -1;
  });
  assert.deepEqual(handles.map(portOf), [0, 1]);
  assert.throws(() => ports[1]!.submit(requestOf('same'), listeners[1]!.events), { param: 'request_id' });
  const news = new News();
  news.prompts.push({ handle: handles[1]!, cachedTokens: 0, queueMs: 3, promptLogprobs: null });
  news.record(handles[1]!, 0, 0, -1, Int32Array.of(9, 8, 7), 1, 2);
  news.record(handles[1]!, 0, 2, -1, Int32Array.of(), 0, 0);
  ends[1]!.postMessage(news.take());
  assert.equal(news.take(), null);
  await listeners[1]!.closed;
  assert.deepEqual(
    listeners.map(({ heard }) => heard),
    [[], [3, 8, 7, 'length', 'closed']],
  );
});

test('the queue has one bound for all threads, and a request that has ended makes room for those of another', async () => {
  const { ports, counters } = createPorts(2);
  const submit = (port: number, id: string) => ports[port]!.submit(requestOf(id), listener().events);
  for (let i = 0; i < queueLenMax; i++) submit(i % 2, `a${i}`);
  for (const port of [0, 1]) assert.throws(() => submit(port, 'more'), { code: 'queue_full' });
  ports[0]!.abort('a0');
  submit(1, 'b');
  assert.throws(() => submit(0, 'more'), { code: 'queue_full' });
  counters[counterIndex.running] = 3;
  counters[counterIndex.waiting] = 5;
  assert.deepEqual(
    ports.map((port) => port.waiting()),
    [5, 5],
  );
  for (let i = 0; i < 3; i++) submit(0, `c${i}`);
  assert.throws(() => submit(1, 'more'), { code: 'queue_full' });
});

test('a control is answered to the thread that asked; a failure ends what each has', async () => {
  const { ports } = createPorts(2);
  const woken = ports[1]!.control({ kind: 'wake' });
  const asked = received(ends[1]!);
  assert.ok(asked.kind === 'control' && portOf(asked.number) === 1);
  const news = new News();
  news.done.push(asked.number);
  ends[1]!.postMessage(news.take());
  await woken;
  const { heard, events } = listener();
  ports[1]!.submit(requestOf('x'), events);
  const sleeping = assert.rejects(ports[1]!.control({ kind: 'sleep', mode: 'wait', forget: false }), { code: 'not_ready' });
  ports[1]!.fail('broken');
  await sleeping;
  assert.deepEqual([heard, ports[1]!.state()], [['error', 'closed'], 'failed']);
});

test('the time of steps is told by phase and rank', () => {
  const { ports, phaseTimes } = createPorts(1);
  phaseTimes[0] = 30; // rank 0, total
  phaseTimes[phaseStride + 5] = 7; // rank 1, waiting for others
  const { total, wait, attention } = ports[0]!.counters().phaseTimesUs;
  assert.deepEqual(
    [total, wait, attention],
    [
      [30, 0],
      [0, 7],
      [0, 0],
    ],
  );
});

test('requests with records of any length are warmed together, before the first of their tokens', async () => {
  const { ports } = createPorts(1);
  const port = ports[0]!;
  const heard: string[] = [];
  const numRequests = 6;
  const news = new News();
  const last = listener();
  for (let i = 0; i < numRequests; i++) {
    const { events } = i === numRequests - 1 ? last : listener();
    const told: RequestEvents = {
      prompt: events.prompt,
      tokens: ({ ids }) => heard.push(`${i}: ${ids.join(' ')}`),
      end: events.end,
      closed: events.closed,
      warm: () => heard.push(`${i} warm`),
    };
    port.submit(requestOf(`request ${i}`), told);
    const message = received(ends[0]!);
    const handle = message.kind === 'submit' ? message.handle : -1;
    news.record(handle, 0, i === numRequests - 1 ? 2 : 0, -1, Int32Array.of(5, 6, 7, 8, 9, 10), 0, i);
  }
  ends[0]!.postMessage(news.take());
  await last.closed;
  const warmed = Array.from({ length: numRequests }, (_, i) => `${i} warm`);
  assert.deepEqual(heard, [...warmed, '1: 5', '2: 5 6', '3: 5 6 7', '4: 5 6 7 8', '5: 5 6 7 8 9']);
});
