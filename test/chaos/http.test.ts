/**
 * Clients that behave badly, in a random mix from a printed seed: they leave at any moment, stop in the middle of a body, never read, send
 * garbage, pipeline. Afterwards nothing runs, nothing is counted as running, and the next request is answered.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadUws } from '../../src/api/exchange-uws.js';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { createServer } from '../../src/api/server.js';

const numClients = 400;
const seed = Number(process.env['LOCKSTEP_CHAOS_SEED'] ?? Date.now() % 1_000_000);

/** mulberry32: numbers of [0, 1) from a 32-bit seed. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function requestText(random: () => number): string {
  const isChat = random() < 0.5;
  const fields = { max_tokens: 1 + Math.floor(random() * 60), stream: random() < 0.6, n: 1 + Math.floor(random() * 3) };
  const prompt = isChat ? { messages: [{ role: 'user', content: 'x'.repeat(random() * 500) }] } : { prompt: ['a', 'b'] };
  const body = JSON.stringify({ ...prompt, ...fields });
  const path = isChat ? '/v1/chat/completions' : '/v1/completions';
  return `POST ${path} HTTP/1.1\r\nhost: chaos\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

/** What a client does with its connection; each leaves in the end. */
const behaviours: readonly ((socket: Socket, random: () => number) => Promise<unknown>)[] = [
  async function leavesAtAnyMoment(socket, random) {
    socket.write(requestText(random));
    await sleep(random() * 60);
  },
  async function sendsHalfABody(socket, random) {
    const text = requestText(random);
    socket.write(text.slice(0, Math.floor(random() * text.length)));
    await sleep(random() * 40);
  },
  async function sendsByteByByte(socket, random) {
    for (const character of requestText(random).slice(0, 400)) {
      socket.write(character);
      if (random() < 0.05) await sleep(1);
    }
    await sleep(random() * 40);
  },
  async function neverReads(socket, random) {
    socket.pause();
    socket.write(requestText(random));
    await sleep(random() * 100);
  },
  async function sendsGarbage(socket, random) {
    socket.write(Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256))));
    await sleep(random() * 20);
  },
  async function pipelines(socket, random) {
    socket.write(requestText(random) + requestText(random) + requestText(random));
    await sleep(random() * 80);
  },
  async function closesItsSideOnly(socket, random) {
    socket.end(requestText(random));
    await sleep(random() * 80);
  },
];

const json = { 'content-type': 'application/json' };

/** Sends the clients, waits until nothing runs, and asks once more. */
async function storm(url: string, numRunning: () => Promise<number>): Promise<void> {
  const random = randomFrom(seed);
  const { hostname, port } = new URL(url);
  const client = async () => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    await behaviours[Math.floor(random() * behaviours.length)]!(socket, random);
    socket.destroy();
  };
  for (let sent = 0; sent < numClients; sent += 40) await Promise.all(Array.from({ length: 40 }, client));
  const load = async () => ((await (await fetch(`${url}/load`)).json()) as { server_load: number }).server_load;
  for (let i = 0; i < 250 && ((await numRunning()) > 0 || (await load()) > 0); i++) await sleep(20);
  assert.equal(await numRunning(), 0, `seed ${seed}`);
  assert.equal(await load(), 0, `seed ${seed}`);
  const answer = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: json,
    body: JSON.stringify({ prompt: 'a', max_tokens: 3 }),
  });
  assert.equal(answer.status, 200);
}

for (const backend of ['uws', 'node'] as const) {
  const skip = backend === 'uws' && loadUws().module === null ? 'the uWebSockets.js binary does not load here' : false;
  test(`${numClients} clients over ${backend}, seed ${seed}`, { skip }, async () => {
    const engine = new FakeEngine({ stepMs: 1, queueLenMax: 40 });
    const server = await createServer({ host: '127.0.0.1', port: 0, backend, streamBufferBytesMax: 2048 });
    server.setModel(fakeModel(engine));
    await storm(`http://127.0.0.1:${server.port}`, async () => engine.numRunning);
    assert.ok(
      engine.numSubmitted > numClients / 4 && engine.numAborts > 10,
      `${engine.numSubmitted} submitted, ${engine.numAborts} aborted`,
    );
    await server.close();
  });
}

const running = process.env['LOCKSTEP_TEST_URL'];
test(`${numClients} clients of the running server, seed ${seed}`, {
  skip: running === undefined && 'LOCKSTEP_TEST_URL names no server',
}, async () => {
  const url = running!.replace(/\/v1\/?$/, '');
  await storm(url, async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    const figures = text.matchAll(/^vllm:(?:num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{.*\} (.*)$/gm);
    return [...figures].reduce((sum, match) => sum + Number(match[1]), 0);
  });
});
