/** `bench serve` against a server that streams at known times. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { benchServeCommand } from './bench-options.js';
import { runBenchServe, settingsOf } from './bench-serve.js';
import { loadOptions } from './load-options.js';

interface Body {
  readonly prompt?: readonly number[] | string;
  readonly messages?: readonly { readonly content: string }[];
  readonly max_tokens: number;
  readonly max_completion_tokens: number;
  readonly ignore_eos?: boolean;
  readonly [field: string]: unknown;
}

const firstTokenMs = 40;
const nextTokenMs = 10;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let server: Server;
let port: number;
let folder: string;
let bodies: Body[];
let numRunning: number;
let numRunningMax: number;
let authorization: string | undefined;

async function answer(path: string, body: Body, response: import('node:http').ServerResponse): Promise<void> {
  const words = (text: string) => text.split(' ').filter(Boolean);
  if (path === '/tokenize') return void response.end(JSON.stringify({ tokens: words(String(body.prompt)).map((_, i) => 100 + (i % 700)) }));
  if (path === '/detokenize') return void response.end(JSON.stringify({ prompt: (body['tokens'] as number[]).join(' ') }));
  bodies.push(body);
  numRunningMax = Math.max(numRunningMax, ++numRunning);
  const prompt = body.prompt ?? body.messages?.[0]?.content ?? '';
  if (typeof prompt === 'string' && prompt.includes('refuse')) {
    numRunning--;
    return void response.writeHead(400).end('{"error":{"message":"no"}}');
  }
  const count = body.max_tokens ?? body.max_completion_tokens;
  for (let i = 0; i < count; i++) {
    await wait(i === 0 ? firstTokenMs : nextTokenMs);
    const choice = body.messages ? { delta: { content: 'x' } } : { text: 'x' };
    response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
  }
  const promptTokens = typeof prompt === 'string' ? words(prompt).length : prompt.length;
  response.write(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: promptTokens, completion_tokens: count } })}\n\n`);
  numRunning--;
  response.end('data: [DONE]\n\n');
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-bench-'));
});
after(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  bodies = [];
  numRunning = 0;
  numRunningMax = 0;
  server = createServer(async (request, response) => {
    authorization = request.headers.authorization;
    if (request.method === 'GET') return response.end('{"data":[{"id":"org/tiny"}]}');
    let text = '';
    for await (const chunk of request) text += chunk;
    return answer(request.url ?? '', JSON.parse(text) as Body, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function bench(...argv: string[]): Promise<string> {
  const output = new PassThrough();
  await runBenchServe(loadOptions(benchServeCommand, ['--port', String(port), ...argv], {}), output, new PassThrough() as never);
  return String(output.read());
}
const figure = (report: string, label: string) =>
  Number(
    report
      .split('\n')
      .find((line) => line.startsWith(label))
      ?.split(':')[1],
  );

describe('bench serve', () => {
  test('random: lengths, concurrency, times, JSON', async () => {
    const argv =
      '--num-prompts 6 --input-len 20 --output-len 5 --max-concurrency 2 --num-warmups 1 --percentile-metrics ttft,tpot,itl,e2el';
    const report = await bench(...argv.split(' '), '--save-detailed', '--result-dir', folder, '--metadata', 'gpu=none', '--api-key', 'k');
    assert.equal(bodies.length, 7);
    assert.ok(bodies.every((body) => body.prompt?.length === 20 && body.max_tokens === 5 && body.ignore_eos === true && body['stream']));
    assert.notDeepEqual(bodies[1]?.prompt, bodies[2]?.prompt);
    assert.equal(bodies[0]?.['temperature'], undefined);
    assert.equal(authorization, 'Bearer k');
    assert.equal(numRunningMax, 2);
    assert.equal(figure(report, 'Successful requests'), 6);
    assert.equal(figure(report, 'Total input tokens'), 120);
    assert.equal(figure(report, 'Total generated tokens'), 30);
    assert.equal(figure(report, 'Peak concurrent requests'), 2);
    // Timers fire late on a busy machine, never early by more than a tick.
    assert.ok(figure(report, 'Median TTFT') >= firstTokenMs - 2, report);
    assert.ok(figure(report, 'Median TPOT') >= nextTokenMs - 2, report);
    assert.ok(figure(report, 'Median E2EL') >= firstTokenMs + 4 * nextTokenMs - 5, report);
    const [file = ''] = readdirSync(folder);
    assert.match(file, /^openai-infqps-concurrency2-tiny-\d{8}-\d{6}\.json$/);
    const saved = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Record<string, unknown>;
    assert.equal(saved['model_id'], 'org/tiny');
    assert.equal(saved['gpu'], 'none');
    assert.equal(saved['request_rate'], 'inf');
    assert.equal((saved['itls'] as number[][])[0]?.length, 4);
    for (const key of ['mean_ttft_ms', 'p99_tpot_ms', 'std_itl_ms', 'median_e2el_ms', 'output_throughput', 'duration']) {
      assert.equal(typeof saved[key], 'number', key);
    }
  });

  test('chat with lines of JSON, a failure, goodput', async () => {
    const path = join(folder, 'prompts.jsonl');
    writeFileSync(path, '{"prompt": "one two three", "output_tokens": 3}\n{"prompt": "please refuse"}\n');
    const argv = ['--backend', 'openai-chat', '--dataset-name', 'custom', '--dataset-path', path, '--num-prompts', '2'];
    const report = await bench(...argv, '--temperature', '0', '--extra-body', '{"user": "u"}', '--goodput', 'ttft:0.001');
    assert.equal(figure(report, 'Successful requests'), 1);
    assert.equal(figure(report, 'Failed requests'), 1);
    assert.equal(figure(report, 'Total generated tokens'), 3);
    assert.equal(figure(report, 'Request goodput (req/s)'), 0);
    assert.match(report, /failed: status 400: .*no/);
    const refused = bodies.find((body) => body.messages?.[0]?.content === 'please refuse');
    assert.deepEqual(
      [refused?.max_completion_tokens, refused?.['temperature'], refused?.['user'], refused?.ignore_eos],
      [256, 0, 'u', undefined],
    );
  });

  test('sharegpt: lengths of the second turn, short and long ones passed over', async () => {
    const path = join(folder, 'sharegpt.json');
    const entry = (question: number, reply: number) => ({
      conversations: [{ value: 'q '.repeat(question) }, { value: 'a '.repeat(reply) }],
    });
    writeFileSync(path, JSON.stringify([entry(5, 6), entry(2, 6), entry(5, 2), entry(1100, 6), entry(900, 1200), { conversations: [] }]));
    const report = await bench('--dataset-name', 'sharegpt', '--dataset-path', path, '--num-prompts', '2');
    assert.equal(figure(report, 'Total input tokens'), 10);
    assert.equal(figure(report, 'Total generated tokens'), 12);
  });

  test('a kept-alive connection that the server closed costs no request', async () => {
    server.on('connection', (socket) => {
      let requests = 0;
      socket.on('data', (bytes) => {
        // The second request on a connection finds it closed, as after a keep-alive timeout.
        if (/^(POST|GET) /.test(bytes.toString('latin1')) && ++requests === 2) socket.resetAndDestroy();
      });
    });
    const report = await bench('--num-prompts', '4', '--input-len', '4', '--output-len', '2', '--max-concurrency', '1');
    assert.equal(figure(report, 'Successful requests'), 4);
  });

  test('a rate spreads the requests', async () => {
    const report = await bench('--num-prompts', '8', '--input-len', '4', '--output-len', '1', '--request-rate', '40');
    assert.ok(figure(report, 'Benchmark duration') >= 0.2, report); // 8 / 40 s to the last arrival
  });
});

test('flags that do not fit are refused', () => {
  const refuse = (argv: string[], message: RegExp) =>
    assert.throws(
      () => settingsOf(loadOptions(benchServeCommand, argv, {})),
      (error) => error instanceof LockstepError && message.test(error.message),
    );
  refuse(['--dataset-name', 'custom'], /needs --dataset-path/);
  refuse(['--goodput', 'itl:5'], /--goodput takes/);
  refuse(['--goodput', 'ttft'], /--goodput must be NAME:VALUE/);
  refuse(['--metric-percentiles', '101'], /from 0 to 100/);
  refuse(['--header', 'x'], /--header must be NAME=VALUE/);
  refuse(['--backend', 'tgi'], /--backend must be one of/);
});
