import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { listenNode } from './exchange-node.js';

test('closing waits for a client that has not read all of its answer', async () => {
  const answer = 'x'.repeat(8 << 20); // more than the system's buffers hold
  const options = { host: '127.0.0.1', port: 0, uds: null, tls: null, streamBufferBytesMax: 1 << 20 };
  const listener = await listenNode(options, (exchange) => exchange.reply(200, 'text/plain', answer));
  const client = connect(listener.port, '127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(client, 'readable');
  const closed = Promise.resolve(listener.close());
  let bytes = 0;
  for await (const chunk of client) bytes += (chunk as Buffer).length;
  await closed;
  assert.ok(bytes > answer.length, `${bytes} bytes`);
});
