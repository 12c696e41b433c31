import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { problemOf } from './health.js';

test('a server that takes requests is well; one that is loading, or is not there, is not', async () => {
  let status = 200;
  const server = createServer((_, response) => response.writeHead(status).end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  assert.equal(await problemOf({ port }), null);
  status = 503;
  assert.match((await problemOf({ port })) ?? '', /\/health answers 503$/);
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  assert.match((await problemOf({ port })) ?? '', /\/health does not answer: /);
});
