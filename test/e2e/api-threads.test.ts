/** `lockstep serve --api-server-count 3`: whichever thread a connection lands on, it is one server. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { loadAddon } from '../../src/addon/load.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;

const numThreads = 3;
/** The kernel deals connections out by chance: with so many every thread has some, but for one time in ten million. */
const numConnections = 45;
const folder = mkdtempSync(join(tmpdir(), 'lockstep-threads-'));
after(() => rmSync(folder, { recursive: true }));

class Server {
  readonly #child: ChildProcess;
  log = '';
  #place: { readonly port: number } | { readonly socketPath: string } = { port: 0 };

  constructor(args: readonly string[]) {
    const argv = ['dist/src/cli/main.js', 'serve', '--host', '127.0.0.1', '--port', '0'];
    this.#child = spawn(process.execPath, [...argv, '--api-server-count', String(numThreads), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr!.on('data', (chunk) => {
      this.log += chunk;
    });
  }

  async ready(): Promise<this> {
    while (!/ready on/.test(this.log)) {
      assert.equal(this.#child.exitCode, null, this.log);
      await Promise.race([once(this.#child.stderr!, 'data'), once(this.#child, 'exit')]);
    }
    const port = /ready on port (\d+)/.exec(this.log)?.[1];
    this.#place = port === undefined ? { socketPath: /ready on (\/\S+?)"/.exec(this.log)![1]! } : { port: Number(port) };
    return this;
  }

  /** Over a connection of its own. */
  async open(path: string, body?: object, { key = 'free', method = body === undefined ? 'GET' : 'POST' } = {}): Promise<IncomingMessage> {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
    const asked = request({ ...this.#place, host: '127.0.0.1', path, method, headers, agent: false });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return answer;
  }

  async ask(path: string, body?: object, options = {}): Promise<{ status: number; body: Json }> {
    const answer = await this.open(path, body, options);
    const whole = await text(answer);
    const isJson = answer.headers['content-type'] === 'application/json';
    return { status: answer.statusCode!, body: isJson ? JSON.parse(whole) : whole };
  }

  /** Each over a connection of its own, all at once. */
  all<T>(count: number, ask: (i: number) => Promise<T>): Promise<T[]> {
    return Promise.all(Array.from({ length: count }, (_, i) => ask(i)));
  }

  /** Requests that each thread has answered. */
  async byThread(): Promise<number[]> {
    const { body } = await this.ask('/metrics');
    return [...(body as string).matchAll(/lockstep:api_thread_requests_total\{thread="\d+"\} (\d+)/g)].map(([, count]) => Number(count));
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async exit(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exit();
  }
}

const question = { model: 'guide', messages: [{ role: 'user', content: 'What is Lockstep?' }], temperature: 0, max_tokens: 16 };

/** What every kind of port must do: the threads share the connections, give the same answers, and end together. */
async function checkSharing(server: Server): Promise<void> {
  const answers = await server.all(numConnections, () => server.ask('/v1/chat/completions', question));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal(new Set(answers.map(({ body }) => body.choices[0].message.content)).size, 1);
  for (let more = 0; more < 20 && (await server.byThread()).includes(0); more++) {
    await server.all(numConnections, () => server.ask('/v1/models'));
  }
  const counts = await server.byThread();
  assert.ok(counts.length === numThreads && !counts.includes(0), `every thread answers: ${counts}`);
}

/** Streams on all threads end whole after SIGTERM; whoever asks then is refused; the process ends with 0. */
async function checkDrain(server: Server): Promise<void> {
  const long = { model: 'guide', prompt: 'Lockstep', stream: true, n: 8, max_tokens: 200, ignore_eos: true };
  const streams = await server.all(12, () => server.open('/v1/completions', long));
  server.signal('SIGTERM');
  const texts = await Promise.all(streams.map((stream) => text(stream)));
  for (const whole of texts) {
    assert.equal(whole.match(/"finish_reason":"length"/g)?.length, 8);
    assert.ok(whole.endsWith('data: [DONE]\n\n'));
  }
  assert.equal(await server.exit(), 0);
}

describe('uWebSockets.js, or what --http-backend auto finds', () => {
  let server: Server;
  before(async () => {
    const keys = join(folder, 'keys');
    writeFileSync(keys, 'free\nlimited requests-per-minute=5\n');
    server = await new Server(['--api-key-file', keys, '--enable-sleep-mode']).ready();
  });
  after(() => server.end());

  test('connections reach all threads, and the answers are the same', () => checkSharing(server));

  test('/metrics is the sum of all, whoever is asked', async () => {
    const chats = (body: string) =>
      /http_requests_total\{handler="\/v1\/chat\/completions",method="POST",status="2xx"\} (\d+)/.exec(body)?.[1];
    const pages = await server.all(12, () => server.ask('/metrics'));
    assert.deepEqual([...new Set(pages.map(({ body }) => chats(body)))], [String(numConnections)]);
    for (const { body } of pages) assert.match(body, new RegExp(`vllm:request_prompt_tokens_count\\{[^}]*\\} ${numConnections}\\n`));
  });

  test('a long prompt is read for every thread', async () => {
    const prompt = 'Lockstep serves models. '.repeat(500);
    const answers = await server.all(9, () => server.ask('/tokenize', { model: 'guide', prompt }));
    assert.equal(new Set(answers.map(({ body }) => body.count)).size, 1);
    assert.ok(answers[0]!.body.count > 500);
  });

  test('a response is known to all threads', async () => {
    const made = await server.ask('/v1/responses', { model: 'guide', input: 'What is Lockstep?', temperature: 0, max_output_tokens: 8 });
    const found = await server.all(12, () => server.ask(`/v1/responses/${made.body.id}`));
    for (const { body } of found) assert.deepEqual(body, made.body);
    const next = { model: 'guide', input: 'and?', previous_response_id: made.body.id, temperature: 0, max_output_tokens: 8 };
    const answers = await server.all(12, () => server.ask('/v1/responses', next));
    assert.equal(new Set(answers.map(({ body }) => JSON.stringify(body.output[0].content))).size, 1);
    assert.ok(answers[0]!.body.usage.input_tokens > made.body.usage.total_tokens);
  });

  test('what one thread makes in the background the others cancel', async () => {
    const long = { model: 'guide', input: 'Tell me all', background: true, max_output_tokens: 900, ignore_eos: true };
    await server.all(6, async () => {
      for (let status = ''; status !== 'cancelled'; ) {
        const { body: made } = await server.ask('/v1/responses', long);
        const { body: answer } = await server.ask(`/v1/responses/${made.id}/cancel`, {});
        status = answer.status ?? answer.error.message;
        assert.match(status, /cancelled|incomplete/); // on a busy machine the other may be ready before the second request has come
      }
    });
    while (/vllm:num_requests_running\{[^}]*\} [1-9]/.test((await server.ask('/metrics')).body));
    while ((await server.ask('/load')).body.server_load !== 0);
  });

  test('the limit of a key is one limit', async () => {
    const answers = await server.all(15, () => server.ask('/tokenize', { model: 'guide', prompt: 'x' }, { key: 'limited' }));
    assert.equal(answers.filter(({ status }) => status === 200).length, 5);
    assert.equal(answers.filter(({ status }) => status === 429).length, 10);
  });

  test('asleep for one, asleep for all', async () => {
    await server.ask('/sleep?level=1', {});
    const asleep = await server.all(9, () => server.ask('/is_sleeping'));
    await server.ask('/wake_up', {});
    const awake = await server.all(9, () => server.ask('/is_sleeping'));
    assert.deepEqual([...new Set(asleep.map(({ body }) => body.is_sleeping))], [true]);
    assert.deepEqual([...new Set(awake.map(({ body }) => body.is_sleeping))], [false]);
  });

  test('SIGTERM: streams of all threads end whole, and the log has whole lines', async () => {
    await checkDrain(server);
    const records = server.log
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    assert.ok(records.filter(({ path }) => path === '/v1/chat/completions').length >= numConnections);
  });
});

test('node:http: the threads listen at copies of one socket', async () => {
  assert.throws(() => loadAddon().duplicateDescriptor(-1), /cannot be duplicated: Bad file descriptor/);
  const server = new Server(['--http-backend', 'node', '--disable-uvicorn-access-log']);
  try {
    await server.ready();
    await checkSharing(server);
    await checkDrain(server);
  } finally {
    await server.end();
  }
});

test('a Unix domain socket is shared too, by node:http, and its file goes with the server', async () => {
  const path = join(folder, 'socket');
  const server = new Server(['--uds', path, '--disable-uvicorn-access-log']);
  try {
    await server.ready();
    await checkSharing(server);
    await checkDrain(server);
    assert.throws(() => rmSync(path), { code: 'ENOENT' });
  } finally {
    await server.end();
  }
});

test('a second SIGTERM ends it at once, with streams open on all threads', async () => {
  const server = new Server(['--disable-uvicorn-access-log']);
  try {
    await server.ready();
    const long = { model: 'guide', prompt: 'Lockstep', stream: true, n: 16, max_tokens: 900, ignore_eos: true };
    const streams = await server.all(9, () => server.open('/v1/completions', long));
    const ends = streams.map((stream) =>
      text(stream).then(
        () => 'whole',
        () => 'cut',
      ),
    );
    server.signal('SIGTERM');
    while (!server.log.includes('SIGTERM:')) await new Promise((resolve) => setTimeout(resolve, 5));
    server.signal('SIGTERM');
    assert.equal(await server.exit(), 143);
    assert.deepEqual([...new Set(await Promise.all(ends))], ['cut']);
  } finally {
    await server.end();
  }
});

test('a port that is in use is one line', async () => {
  const first = new Server([]);
  try {
    await first.ready();
    const second = new Server(['--port', /ready on port (\d+)/.exec(first.log)![1]!, '--log-level', 'error']);
    assert.equal(await second.exit(), 2);
    assert.match(second.log, /^lockstep: cannot listen on 127\.0\.0\.1:\d+: the port is in use\n$/);
  } finally {
    await first.end();
  }
});

test('uWebSockets.js alone cannot share a Unix domain socket', async () => {
  const server = new Server(['--uds', join(folder, 'socket'), '--http-backend', 'uws']);
  assert.equal(await server.exit(), 2);
  assert.match(server.log, /^lockstep: --uds with --api-server-count needs --http-backend node/);
});
