import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { FakeEngine, fakeModel } from '../fake-engine.js';
import { createServer as createApi, type HttpServer } from '../server.js';
import { parseTraceparent } from './tracing.js';

// biome-ignore lint/suspicious/noExplicitAny: what was sent is looked at field by field
type Json = any;
let collector: Server;
let api: HttpServer;
const received: { headers: Record<string, unknown>; body: Json }[] = [];
const traceId = '0af7651916cd43dd8448eb211c80319c';

before(async () => {
  collector = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on('end', () => {
      received.push({ headers: request.headers, body: JSON.parse(text) });
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  api = await createApi({ host: '127.0.0.1', port: 0, tracing: { url, serviceName: 'mine', headers: { 'x-team': 'a' } } });
  api.setModel(fakeModel(new FakeEngine()));
});
after(() => collector.close());

const chat = (traceparent: string | null) =>
  fetch(`http://127.0.0.1:${api.port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(traceparent === null ? {} : { traceparent }) },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 3, temperature: 0.5, n: 2 }),
  });

test('a span for each request, as part of the caller’s trace, but for those that are not sampled', async () => {
  for (const traceparent of [`00-${traceId}-b7ad6b7169203331-01`, null, `00-${traceId}-b7ad6b7169203331-00`]) {
    assert.equal((await chat(traceparent)).status, 200);
  }
  await api.close(); // sends what waits
  const [{ headers, body }] = received as [(typeof received)[number]];
  assert.equal(headers['x-team'], 'a');
  const [{ resource, scopeSpans }] = body.resourceSpans;
  assert.deepEqual(resource.attributes, [{ key: 'service.name', value: { stringValue: 'mine' } }]);
  const [first, second, third] = scopeSpans[0].spans;
  assert.equal(third, undefined);
  assert.deepEqual([first.traceId, first.parentSpanId, first.name, first.kind], [traceId, 'b7ad6b7169203331', 'llm_request', 2]);
  assert.match(second.traceId, /^[0-9a-f]{32}$/);
  assert.equal(second.parentSpanId, undefined);
  assert.ok(BigInt(first.endTimeUnixNano) > BigInt(first.startTimeUnixNano));
  assert.ok(Math.abs(Number(BigInt(first.endTimeUnixNano) / 1_000_000n) - Date.now()) < 60_000);
  const attributes = new Map<string, Json>(first.attributes.map(({ key, value }: Json) => [key, Object.values(value)[0]]));
  assert.equal(attributes.get('gen_ai.usage.prompt_tokens'), '18');
  assert.equal(attributes.get('gen_ai.usage.completion_tokens'), '6');
  assert.equal(attributes.get('gen_ai.request.n'), '2');
  assert.equal(attributes.get('gen_ai.request.temperature'), 0.5);
  assert.equal(attributes.get('gen_ai.response.model'), 'fake');
  assert.ok(attributes.get('gen_ai.latency.e2e') >= attributes.get('gen_ai.latency.time_to_first_token'));
});

test('traceparent headers that are none', () => {
  assert.equal(parseTraceparent(`00-${traceId}-b7ad6b7169203331-01`)?.isSampled, true);
  for (const header of [
    undefined,
    '',
    `ff-${traceId}-b7ad6b7169203331-01`,
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${traceId}-1-01`,
  ])
    assert.equal(parseTraceparent(header), null);
});
