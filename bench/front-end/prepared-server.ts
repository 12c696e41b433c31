/**
 * The floor under the front end: a bare uWebSockets.js server whose event is there before the first request, and which writes it to each stream in
 * each step. What it costs is the library and the kernel.
 */
import type { HttpResponse, us_listen_socket } from 'uWebSockets.js';
import { loadUws } from '../../src/api/exchange-uws.js';
import type { Front } from './front.js';

/** As long as what Lockstep writes for one token. */
const event = Buffer.from(
  'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"model":"fake","choices":[' +
    '{"index":0,"delta":{"content":" text"},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n',
);

/** About the front end's: faster than its clients read, a server would measure how the kernel joins what waits. */
const tokensPerMs = 125;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Steps begin when `together` requests are there; each gets as many events as its `max_tokens` says. */
export async function listenPrepared(together: number): Promise<Front> {
  const { module: uws } = loadUws();
  if (uws === null) throw new Error('uWebSockets.js does not load');
  const { us_listen_socket_close: closeSocket, us_socket_local_port: portOf } = uws;
  let waiting: HttpResponse[] = [];
  const step = (streams: readonly HttpResponse[], numLeft: number, dueMs: number) => {
    Atomics.wait(never, 0, 0, Math.max(0, dueMs - performance.now())); // takes no CPU
    for (const res of streams) res.cork(() => (numLeft === 1 ? res.end(event) : res.write(event)));
    front.onStep();
    if (numLeft > 1) setImmediate(step, streams, numLeft - 1, dueMs + together / tokensPerMs);
  };
  const app = uws.App().post('/v1/chat/completions', (res) => {
    let body = '';
    res.onAborted(() => undefined);
    res.onData((chunk, isLast) => {
      body += Buffer.from(chunk).toString();
      if (!isLast) return;
      if (waiting.push(res) < together) return;
      const streams = waiting;
      waiting = [];
      setImmediate(step, streams, (JSON.parse(body) as { max_tokens: number }).max_tokens, performance.now());
    });
  });
  const socket = await new Promise<us_listen_socket | false>((resolve) => app.listen('127.0.0.1', 0, resolve));
  if (socket === false) throw new Error('no port');
  const front: Front = {
    port: portOf(socket),
    onStep: () => {},
    engineUs: () => 0,
    async close() {
      closeSocket(socket);
      app.close();
    },
  };
  return front;
}
