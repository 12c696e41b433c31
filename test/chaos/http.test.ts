/**
 * Clients that behave badly, in a random mix from a printed seed: they leave at any moment, stop in the middle of a body, never read, send
 * garbage, pipeline. Afterwards nothing runs, nothing is counted as running, and the next request is answered.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadUws } from '../../src/api/exchange-uws.js';
import { FakeEngine, fakeModel } from '../../src/api/fake-engine.js';
import { createServer, type HttpServer } from '../../src/api/server.js';

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

for (const backend of ['uws', 'node'] as const) {
  const skip = backend === 'uws' && loadUws().module === null ? 'the uWebSockets.js binary does not load here' : false;
  describe(`chaos over ${backend}, seed ${seed}`, { skip }, () => {
    let server: HttpServer;
    const engine = new FakeEngine({ stepMs: 1, queueLenMax: 40 });
    before(async () => {
      server = await createServer({ host: '127.0.0.1', port: 0, backend, streamBufferBytesMax: 2048 });
      server.setModel(fakeModel(engine));
    });
    after(() => server.close());

    test(`${numClients} clients`, async () => {
      const random = randomFrom(seed);
      const client = async () => {
        const socket = connect(server.port, '127.0.0.1');
        socket.on('error', () => undefined);
        socket.on('data', () => undefined);
        await behaviours[Math.floor(random() * behaviours.length)]!(socket, random);
        socket.destroy();
      };
      for (let sent = 0; sent < numClients; sent += 40) await Promise.all(Array.from({ length: 40 }, client));

      const url = `http://127.0.0.1:${server.port}`;
      const load = async () => ((await (await fetch(`${url}/load`)).json()) as { server_load: number }).server_load;
      for (let i = 0; i < 200 && (engine.numRunning > 0 || (await load()) > 0); i++) await sleep(20);
      assert.equal(engine.numRunning, 0, `seed ${seed}`);
      assert.equal(await load(), 0, `seed ${seed}`);
      assert.ok(
        engine.numSubmitted > numClients / 4 && engine.numAborts > 10,
        `${engine.numSubmitted} submitted, ${engine.numAborts} aborted`,
      );
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ prompt: 'a', max_tokens: 3 }),
      });
      assert.equal(answer.status, 200);
    });
  });
}
