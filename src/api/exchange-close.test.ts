import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Exchange, Listen } from './exchange.js';
import { listenNode } from './exchange-node.js';
import { listenUws, loadUws } from './exchange-uws.js';

const { module: uws } = loadUws();
const listens: Readonly<Record<string, Listen | null>> = {
  'node:http': listenNode,
  'uWebSockets.js': uws === null ? null : (options, handler) => listenUws(uws, options, handler),
};

const answer = 'é'.repeat(4 << 20); // 8 MiB, more than the system's buffers hold
const answers: Readonly<Record<string, (exchange: Exchange) => void>> = {
  reply: (exchange) => exchange.reply(200, 'text/plain', answer),
  'last events of a stream': (exchange) => exchange.openStream('text/plain').end(answer),
  'stream that ends while its client is slow': (exchange) => {
    const stream = exchange.openStream('text/plain');
    stream.send(answer);
    setTimeout(() => stream.end('the end'), 20);
  },
};

/** Reads what comes, but not at once: all of it as bytes of a string. */
async function readAll(port: number): Promise<string> {
  const client = connect(port, '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(client, 'readable');
  await delay(100);
  const pieces: Buffer[] = [];
  for await (const piece of client) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('latin1');
}

for (const [library, listen] of Object.entries(listens)) {
  for (const [kind, respond] of Object.entries(answers)) {
    test(`${library}: closing waits for a client that has not read all of its ${kind}`, { skip: listen === null }, async () => {
      const options = { host: '127.0.0.1', port: 0, uds: null, tls: null, sharing: null, streamBufferBytesMax: 1 << 20 };
      let noticeEnd = () => {};
      const ended = new Promise<void>((resolve) => {
        noticeEnd = resolve;
      });
      const listener = await listen!(options, (exchange) => {
        exchange.onEnd(noticeEnd);
        respond(exchange);
      });
      const read = readAll(listener.port);
      await ended;
      await listener.close();
      const text = await read;
      const numHalves = text.match(/[\u00c3\u00a9]/g)?.length ?? 0;
      assert.equal(numHalves, 8 << 20);
      if (kind !== 'reply') assert.ok(text.endsWith('0\r\n\r\n'), JSON.stringify(text.slice(-20)));
    });
  }
}

for (const [library, listen] of Object.entries(listens)) {
  test(`${library}: closing does not wait for connections on which nothing is left to send`, { skip: listen === null }, async () => {
    const options = { host: '127.0.0.1', port: 0, uds: null, tls: null, sharing: null, streamBufferBytesMax: 1 << 20 };
    const listener = await listen!(options, (exchange) => exchange.openStream('text/plain').end('all'));
    const client = connect(listener.port, '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(client, 'data');
    const ended = once(client, 'end');
    const begin = performance.now();
    await listener.close();
    await ended;
    assert.ok(performance.now() - begin < 2500);
  });
}
