import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import type { TlsOptions } from '../exchange.js';
import { loadUws } from '../exchange-uws.js';
import { FakeEngine, type FakeEngineOptions, fakeModel } from '../fake-engine.js';
import { createServer, type HttpServer, type ServerOptions } from '../server.js';
import { plainKeys } from './keys.js';
import { clientCertificate, firstCertificate, secondCertificate, type TestCertificate } from './test-certificates.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-door-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const chatBody = JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 3 });
const json = { 'content-type': 'application/json' };

async function start(options: Partial<ServerOptions>, engine: FakeEngineOptions = {}): Promise<{ server: HttpServer; url: string }> {
  const server = await createServer({ host: '127.0.0.1', port: 0, ...options });
  server.setModel(fakeModel(new FakeEngine(engine)));
  return { server, url: `http://127.0.0.1:${server.port}` };
}

const chat = (url: string, headers: Record<string, string> = {}, body = chatBody) =>
  fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { ...json, ...headers }, body });

interface SecureReply {
  readonly status: number;
  /** Common name of the server's certificate. */
  readonly server: string;
}

function getSecure(port: number, client: TestCertificate | null = null, agent: boolean | undefined = false): Promise<SecureReply> {
  return new Promise((resolve, reject) => {
    const identity = client === null ? {} : { key: client.key, cert: client.cert };
    const request = requestHttps({
      host: '127.0.0.1',
      port,
      path: '/health',
      rejectUnauthorized: false,
      agent: agent || false,
      ...identity,
    });
    request.on('response', (response) => {
      const server = String((response.socket as TLSSocket).getPeerCertificate().subject.CN);
      response.resume().on('end', () => resolve({ status: response.statusCode!, server }));
    });
    request.on('error', reject).end();
  });
}

function filesOf(name: string, { key, cert }: TestCertificate): TlsOptions {
  const [keyFile, certFile, caFile] = ['key', 'cert', 'ca'].map((kind) => join(folder, `${name}-${kind}.pem`)) as [string, string, string];
  writeFileSync(keyFile, key);
  writeFileSync(certFile, cert);
  writeFileSync(caFile, clientCertificate.cert);
  return { keyFile, certFile, caFile, clientCertificates: 0, ciphers: null };
}

for (const backend of ['uws', 'node'] as const) {
  const skip = backend === 'uws' && loadUws().module === null ? 'the uWebSockets.js binary does not load here' : false;
  describe(`the front door over ${backend}`, { skip }, () => {
    test('TLS, and a new certificate for new connections', async (t) => {
      const tls = filesOf(backend, firstCertificate);
      const { server } = await start({ backend, tls, tlsRefresh: true });
      t.after(() => server.close());
      assert.deepEqual(await getSecure(server.port), { status: 200, server: 'first' });
      filesOf(backend, secondCertificate);
      let now = '';
      for (let i = 0; i < 60 && now !== 'second'; i++) {
        await sleep(100);
        // uWebSockets.js listens anew; the kernel resets what has not been accepted when the first socket is closed.
        const reset = (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? { server: 'reset' } : Promise.reject(error));
        now = (await getSecure(server.port).catch(reset)).server;
      }
      assert.equal(now, 'second');
    });

    test('a key that does not fit its certificate is refused at start', async () => {
      const tls = { ...filesOf(`${backend}-bad`, firstCertificate), keyFile: filesOf(`${backend}-other`, secondCertificate).keyFile };
      await assert.rejects(createServer({ host: '127.0.0.1', port: 0, backend, tls }), /cannot be used: .*mismatch/i);
      await assert.rejects(
        createServer({ host: '127.0.0.1', port: 0, backend, tls: { ...tls, certFile: '/nowhere' } }),
        /--ssl-certfile \/nowhere cannot be read/,
      );
    });

    test('a Unix domain socket, also where a killed server has left its file', async () => {
      const uds = join(folder, `${backend}.sock`);
      const get = () =>
        new Promise<number>((resolve, reject) => {
          const request = requestHttp({ socketPath: uds, path: '/v1/models', agent: false }, (response) =>
            resolve(response.resume().statusCode!),
          );
          request.on('error', reject).end();
        });
      const { server } = await start({ backend, uds });
      assert.equal(await get(), 200);
      await assert.rejects(createServer({ backend, uds }), /a server listens there/);
      await server.close();
      const again = await start({ backend, uds });
      assert.equal(await get(), 200);
      await again.server.close();
    });

    test('ids of requests come back, chosen or made', async () => {
      const { server, url } = await start({ backend });
      assert.equal((await chat(url, { 'x-request-id': 'abc' })).headers.get('x-request-id'), 'abc');
      assert.equal((await chat(url)).headers.get('x-request-id'), null);
      await server.close();
      const other = await start({ backend, requestIdHeaders: true });
      assert.match((await fetch(`${other.url}/nope`)).headers.get('x-request-id')!, /^[0-9a-f]{32}$/);
      await other.server.close();
    });

    test('x-api-key; limits of a key, in headers and as 429', async () => {
      const keys = plainKeys(['one', 'two']);
      const rateDefaults = { requestsPerMinute: 2, tokensPerMinute: null };
      const { server, url } = await start({ backend, apiKeys: keys, rateDefaults });
      const first = await chat(url, { 'x-api-key': 'one' });
      assert.deepEqual([first.status, first.headers.get('x-ratelimit-remaining-requests')], [200, '1']);
      assert.equal((await chat(url, { authorization: 'Bearer one' })).status, 200);
      const refused = await chat(url, { 'x-api-key': 'one' });
      assert.equal(refused.status, 429);
      assert.equal(refused.headers.get('retry-after'), '30');
      assert.equal(refused.headers.get('x-ratelimit-limit-requests'), '2');
      assert.equal(((await refused.json()) as { error: { code: string } }).error.code, 'rate_limit_exceeded');
      assert.equal((await chat(url, { 'x-api-key': 'two' })).status, 200);
      // What costs nothing is not counted.
      assert.equal((await fetch(`${url}/v1/models`, { headers: { 'x-api-key': 'one' } })).status, 200);
      await server.close();
    });

    test('tokens that were made count for the next request', async () => {
      const { server, url } = await start({ backend, rateDefaults: { requestsPerMinute: null, tokensPerMinute: 10 } });
      assert.equal((await chat(url)).status, 200);
      assert.equal((await chat(url)).status, 429);
      await server.close();
    });

    test('a quiet stream gets comments, and an error is an event then', async () => {
      const body = JSON.stringify({ ...JSON.parse(chatBody), stream: true });
      const slow = await start({ backend, keepAliveMs: 40 }, { prefillMs: 500 });
      const text = await (await chat(slow.url, {}, body)).text();
      assert.match(text, /^(: ping\n\n){2,}data: \{.*"role":"assistant"/);
      assert.match(text, /data: \[DONE\]\n\n$/);
      await slow.server.close();
      const failing = await start({ backend, keepAliveMs: 40 }, { prefillMs: 500, failAt: 0 });
      const answer = await chat(failing.url, {}, body);
      assert.equal(answer.status, 200);
      assert.match(await answer.text(), /^(: ping\n\n)+data: \{"error":\{.*"failed as asked|the fake engine failed as asked/);
      await failing.server.close();
    });

    test('a record for every answer, without the text of anything', async () => {
      const records: { record: Record<string, unknown>; message: string }[] = [];
      const logger = { info: (record: object, message: string) => records.push({ record: record as Record<string, unknown>, message }) };
      const { server, url } = await start({
        backend,
        apiKeys: plainKeys(['secret']),
        rootPath: '/llm',
        accessLog: { logger: logger as unknown as NonNullable<ServerOptions['accessLog']>['logger'], exceptPaths: ['/health'] },
      });
      await chat(`${url}/llm`, { authorization: 'Bearer secret', 'x-request-id': 'r1' });
      await fetch(`${url}/health`);
      await chat(url);
      const shown = records.map(({ record: { ms, client, ...rest } }) => {
        assert.ok((ms as number) >= 0);
        assert.match(String(client), /127\.0\.0\.1/);
        return rest;
      });
      const path = '/v1/chat/completions';
      assert.deepEqual(shown, [
        { method: 'POST', path, status: 200, key: 'key-1', id: 'r1' },
        { method: 'POST', path, status: 401 },
      ]);
      await server.close();
    });

    test('prompts and answers are logged where that is asked for, up to a length', async () => {
      const records: Record<string, unknown>[] = [];
      const note = (record: object) => records.push(record as Record<string, unknown>);
      const logger = { info: note, warn: note, error: note, debug: note } as unknown as ServerOptions['logger'];
      const { server, url } = await start({ backend, logger, textLog: { prompts: true, outputs: true, lenMax: 7 } });
      await chat(url);
      assert.equal(records[0]!['prompt'], 'user:hi…');
      assert.equal(records[0]!['promptTokens'], 18);
      assert.equal((records[1]!['output'] as string).length, 3);
      await server.close();
    });
  });
}

test('certificates of clients: demanded, by node:http', async () => {
  const tls = { ...filesOf('mutual', firstCertificate), clientCertificates: 2 } as const;
  const { server } = await start({ tls });
  assert.equal(server.backend, 'node');
  assert.equal((await getSecure(server.port, clientCertificate)).status, 200);
  await assert.rejects(getSecure(server.port));
  await server.close();
  await assert.rejects(createServer({ backend: 'uws', tls }), /needs --http-backend node/);
});

test('HTTP/1.0, as some proxies speak it: node:http answers, uWebSockets.js says that it does not', async () => {
  const backends = ['node', ...(loadUws().module === null ? [] : ['uws'])] as const;
  for (const backend of backends as readonly ('node' | 'uws')[]) {
    const { server } = await start({ backend });
    const head = `POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: ${chatBody.length}\r\n\r\n`;
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(server.port, '127.0.0.1', () => socket.write(head + chatBody));
      let text = '';
      socket.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      socket.on('end', () => resolve(text)).on('error', reject);
    });
    if (backend === 'node') assert.match(answer, /^HTTP\/1\.1 200 OK[\s\S]*"object":"chat\.completion"/);
    else assert.match(answer, /^HTTP\/1\.1 505 /);
    await server.close();
  }
});
