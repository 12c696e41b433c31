import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Exchange } from './exchange.js';
import { Recorder } from './recorder.js';

const bodyBytesMax = 1 << 20;
let kept: Exchange[] = [];
let secrets: (readonly string[])[] = [];
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
  kept = [];
  secrets = [];
});

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A recorder before a server that answers so; gives the recorder and its address. */
async function before(upstream: string): Promise<{ recorder: Recorder; url: string }> {
  const recorder = await Recorder.start({
    upstream: new URL(upstream),
    host: '127.0.0.1',
    port: 0,
    bodyBytesMax,
    keep: (exchange, values) => {
      kept.push(exchange);
      secrets.push(values);
    },
  });
  closers.push(() => void recorder.close(0));
  return { recorder, url: `http://127.0.0.1:${recorder.port}` };
}

async function overHttp(listener: RequestListener): Promise<{ recorder: Recorder; url: string }> {
  const server = createHttpServer(listener);
  closers.push(() => server.closeAllConnections());
  return before(await listening(server));
}

/** A server that writes bytes by hand to whoever has sent a head. */
async function overTcp(answer: (socket: Socket, head: string) => void): Promise<{ recorder: Recorder; url: string }> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes) => answer(socket, bytes.toString()));
  });
  return before(await listening(server));
}

const untilKept = async (count: number) => {
  for (let i = 0; kept.length < count && i < 500; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(kept.length, count);
};

const textOf = async (stream: IncomingMessage) => {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
};

describe('what passes', () => {
  test('any method and path, headers and bytes as they are; keys are given apart', async () => {
    const seen: string[] = [];
    const { url } = await overHttp(async (asked, answer) => {
      seen.push(`${asked.method} ${asked.url} ${asked.headers.authorization} ${asked.headers['x-own']} ${await textOf(asked)}`);
      answer.writeHead(207, { 'x-answer': 'yes', 'set-cookie': ['a=1', 'b=2'] }).end(Buffer.from([0, 255, 1]));
    });
    const headers = { authorization: 'Bearer sk-very-secret', 'x-own': 'x', cookie: 'sid=0123456789' };
    const answer = await fetch(`${url}/any//path?api-key=query-secret&x=1`, { method: 'PATCH', headers, body: 'not json' });
    assert.equal(answer.status, 207);
    assert.equal(answer.headers.get('x-answer'), 'yes');
    assert.deepEqual(answer.headers.getSetCookie(), ['a=1', 'b=2']);
    assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), new Uint8Array([0, 255, 1]));
    assert.deepEqual(seen, ['PATCH /any//path?api-key=query-secret&x=1 Bearer sk-very-secret x not json']);
    await untilKept(1);
    const { method, path, headers: keptHeaders, text, response } = kept[0]!;
    assert.deepEqual([method, path, text], ['PATCH', '/any//path?x=1', 'not json']);
    assert.ok(!('authorization' in keptHeaders) && !('cookie' in keptHeaders) && !('x-own' in keptHeaders));
    assert.deepEqual([response?.status, response?.bytesLeftOut, response?.isWhole], [207, 3, true]);
    assert.deepEqual(new Set(secrets[0]), new Set(['sk-very-secret', 'query-secret', '0123456789']));
  });

  test('each event when it comes, and all of them in the line', async () => {
    let next = () => {};
    const { url } = await overHttp((_, answer) => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"a":1}\n\n');
      next = () => answer.end('event: named\ndata: {"b":2}\n\ndata: [DONE]\n\n');
    });
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: '{"stream":true}' });
    const reader = answer.body!.getReader();
    const { value } = await reader.read();
    assert.equal(Buffer.from(value as Uint8Array).toString(), 'data: {"a":1}\n\n', 'before the server has ended');
    next();
    while (!(await reader.read()).done);
    await untilKept(1);
    assert.deepEqual(kept[0]?.body, { stream: true });
    assert.deepEqual(kept[0]?.response?.events, [{ data: { a: 1 } }, { name: 'named', data: { b: 2 } }, { data: '[DONE]' }]);
  });

  test('a compressed answer passes compressed and is kept plain', async () => {
    const { url } = await overHttp((_, answer) => {
      answer.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync('{"a":[1]}'));
    });
    assert.deepEqual(await (await fetch(url)).json(), { a: [1] });
    await untilKept(1);
    assert.deepEqual(kept[0]?.response?.body, { a: [1] });
  });

  test('a body beyond the bound passes and is not kept', async () => {
    const { url } = await overHttp(async (asked, answer) => void answer.end(String((await textOf(asked)).length)));
    const long = 'x'.repeat(bodyBytesMax + 1);
    assert.equal(await (await fetch(url, { method: 'POST', body: long })).text(), String(long.length));
    await untilKept(1);
    assert.equal(kept[0]?.bytesLeftOut, long.length);
    assert.ok(!('text' in kept[0]!));
  });

  test('the base path of the server stands before, but once', async () => {
    const server = createHttpServer((asked, answer) => answer.end(asked.url));
    const { url } = await before(`${await listening(server)}/v1`);
    assert.equal(await (await fetch(`${url}/v1/models`)).text(), '/v1/models');
    assert.equal(await (await fetch(`${url}/models`)).text(), '/v1/models');
    await untilKept(2);
    assert.deepEqual(
      kept.map(({ path }) => path),
      ['/v1/models', '/v1/models'],
    );
  });
});

describe('servers and clients of other kinds', () => {
  test('a server that is not there: 502 in the shape of OpenAI, and a line', async () => {
    const gone = createTcpServer();
    const address = await listening(gone);
    gone.close();
    const { url } = await before(address);
    const answer = await fetch(`${url}/v1/models`);
    const { error } = (await answer.json()) as { error: Record<string, unknown> };
    assert.equal(answer.status, 502);
    assert.match(String(error['message']), /no answer from http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
    await untilKept(1);
    assert.equal(kept[0]?.response, null);
  });

  test('a server that dies in the middle: the client sees a broken answer, the line has what came', async () => {
    const { url } = await overTcp((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n');
      setTimeout(() => socket.destroy(), 50);
    });
    const answer = await fetch(url);
    await assert.rejects(answer.text());
    await untilKept(1);
    assert.deepEqual([kept[0]?.response?.isWhole, kept[0]?.response?.events], [false, [{ data: 1 }]]);
  });

  test('a server that answers before it has read the request: the answer comes whole', async () => {
    const { recorder } = await overTcp((socket) => {
      socket.end('HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"error":"x"}');
    });
    const client = request({ port: recorder.port, host: '127.0.0.1', method: 'POST', headers: { 'content-length': 5_000_000 } });
    client.on('error', () => {});
    client.write(Buffer.alloc(1_000_000));
    const [answer] = (await once(client, 'response')) as [IncomingMessage];
    assert.deepEqual([answer.statusCode, await textOf(answer)], [413, '{"error":"x"}']);
    client.destroy();
    await untilKept(1);
    assert.deepEqual([kept[0]?.response?.status, kept[0]?.response?.body], [413, { error: 'x' }]);
  });

  test('a client that goes away ends the request', async () => {
    let closed = () => {};
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const { url } = await overHttp((_, answer) => {
      answer.writeHead(200).write('x');
      answer.on('close', closed);
    });
    const abort = new AbortController();
    const answer = await fetch(url, { signal: abort.signal });
    await answer.body!.getReader().read();
    abort.abort();
    await gone;
    await untilKept(1);
    assert.equal(kept[0]?.response?.isWhole, false);
  });

  test('a server that speaks HTTP/1.0, ends by closing and keeps no connection', async () => {
    const { url } = await overTcp((socket, head) => {
      assert.match(head, /\r\nconnection: close\r\n/i);
      socket.end('HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{"ok":true}');
    });
    for (let i = 0; i < 3; i++) assert.deepEqual(await (await fetch(`${url}/${i}`, { method: 'POST', body: '{}' })).json(), { ok: true });
    await untilKept(3);
    assert.ok(kept.every(({ response }) => response?.isWhole));
  });

  test('a client that speaks HTTP/1.0 gets no chunks', async () => {
    const { recorder } = await overHttp((_, answer) => {
      answer.write('one ');
      answer.end('two');
    });
    const socket = connect(recorder.port, '127.0.0.1', () => socket.write('GET /x HTTP/1.0\r\n\r\n'));
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.match(text, /^HTTP\/1\.[01] 200 [\s\S]*\r\n\r\none two$/);
    assert.doesNotMatch(text, /transfer-encoding/i);
  });

  test('a path that would be another host is refused', async () => {
    const { recorder, url } = await overHttp((_, answer) => answer.end());
    const socket = connect(recorder.port, '127.0.0.1', () =>
      socket.write('GET @127.0.0.2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
    );
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.match(text, /^HTTP\/1\.1 (400|502) /);
    assert.equal((await fetch(url)).status, 200);
  });
});

describe('the end', () => {
  test('running exchanges end by themselves and are kept; new ones are not taken', async () => {
    let finish = () => {};
    const { recorder, url } = await overHttp((_, answer) => {
      answer.write('begun');
      finish = () => answer.end(' and ended');
    });
    const answer = await fetch(url);
    const closed = recorder.close(60_000);
    await assert.rejects(fetch(`${url}/late`));
    finish();
    assert.equal(await answer.text(), 'begun and ended');
    await closed;
    assert.deepEqual([kept.length, kept[0]?.response?.text, kept[0]?.response?.isWhole], [1, 'begun and ended', true]);
  });

  test('those that do not are cut, and kept too', async () => {
    const { recorder, url } = await overHttp((_, answer) => void answer.write('begun'));
    const answer = await fetch(url);
    await recorder.close(20);
    await assert.rejects(answer.text());
    assert.deepEqual([kept[0]?.response?.text, kept[0]?.response?.isWhole], ['begun', false]);
  });

  test('a request of which only a part has come', async () => {
    const { recorder } = await overHttp(() => {});
    const client = request({ port: recorder.port, host: '127.0.0.1', method: 'POST', headers: { 'content-length': 100 } });
    client.on('error', () => {});
    client.write('{"half":');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await recorder.close(0);
    assert.deepEqual([kept.length, kept[0]?.bytesLeftOut, kept[0]?.response], [1, 8, null]);
  });
});
