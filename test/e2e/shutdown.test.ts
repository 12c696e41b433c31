/** How `lockstep serve` ends: the first signal lets running requests finish, the second does not. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import OpenAI from 'openai';

let server: ChildProcess;
afterEach(() => {
  try {
    process.kill(-(server.pid ?? 0), 'SIGKILL'); // its group: what `npm start` has started too
  } catch {
    // All of it has ended, as it should.
  }
});

const lockstepServe = [process.execPath, 'dist/src/cli/main.js', 'serve'] as const;

/** Starts the bundled model on a free port and waits until it takes requests. */
async function start(args: readonly string[] = [], [program, ...words]: readonly [string, ...string[]] = lockstepServe): Promise<OpenAI> {
  const argv = [...words, '--host', '127.0.0.1', '--port', '0', ...args];
  server = spawn(program, argv, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let log = '';
  for await (const chunk of server.stderr ?? []) {
    log += chunk;
    const port = /ready on port (\d+)/.exec(log)?.[1];
    if (port === undefined) continue;
    return new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
  }
  return assert.fail(`the server ended: ${log}`);
}

/** So many choices of so many tokens take seconds with the bundled model: much longer than a signal. */
const numChoices = 64;
const longStream = (client: OpenAI) =>
  client.completions.create({ model: 'guide', prompt: 'Lockstep', stream: true, n: numChoices, max_tokens: 800, ...{ ignore_eos: true } });

/** In this time the server makes more than a socket holds. */
const slowReaderMs = 1500;

/** The error of a request that is refused from some moment on. */
async function refusalOf(client: OpenAI): Promise<unknown> {
  for (;;) {
    const asked = client.completions.create({ model: 'guide', prompt: 'x', max_tokens: 1 });
    const refusal = await asked.then(
      () => null,
      (error: unknown) => error,
    );
    if (refusal !== null) return refusal;
  }
}

test('SIGTERM: running streams end whole, new requests get 503, the exit status is 0', async () => {
  const client = await start();
  const exit = once(server, 'exit');
  const reasons: string[] = [];
  let refusal: Promise<unknown> | null = null;
  for await (const { choices } of await longStream(client)) {
    if (refusal === null) {
      server.kill('SIGTERM');
      refusal = refusalOf(client);
      await delay(slowReaderMs);
    }
    for (const { finish_reason: reason } of choices) if (reason !== null) reasons.push(reason);
  }
  const error = await refusal;
  assert.ok(error instanceof OpenAI.APIError && error.status === 503, String(error));
  assert.deepEqual(reasons, new Array(numChoices).fill('length'));
  assert.deepEqual(await exit, [0, null]);
});

test('a second SIGTERM ends it at once', async () => {
  const client = await start();
  const exit = once(server, 'exit');
  let refusal: Promise<unknown> | null = null;
  await assert.rejects(async () => {
    for await (const _ of await longStream(client)) {
      if (refusal !== null) continue;
      server.kill('SIGTERM');
      // Two signals at once would be one: the second is sent when the first has been heard.
      refusal = refusalOf(client).then(() => server.kill('SIGTERM'));
    }
  });
  const [status] = await exit;
  assert.equal(status, 143);
});

test('--shutdown-timeout bounds the wait', async () => {
  const client = await start(['--shutdown-timeout', '0']);
  const exit = once(server, 'exit');
  await (async () => {
    for await (const _ of await longStream(client)) if (!server.killed) server.kill('SIGTERM');
  })().catch(() => {});
  assert.deepEqual(await exit, [0, null]);
});

test('npm start ends with its server: npm hands SIGTERM on, and waits', async () => {
  const client = await start([], ['npm', 'start', '--']);
  const exit = once(server, 'exit');
  const reasons: (string | null)[] = [];
  for await (const { choices } of await longStream(client)) {
    if (!server.killed) server.kill('SIGTERM');
    reasons.push(...choices.map(({ finish_reason }) => finish_reason));
  }
  assert.equal(reasons.filter((reason) => reason === 'length').length, numChoices);
  assert.deepEqual(await exit, [0, null]);
  await assert.rejects(client.models.list(), OpenAI.APIConnectionError);
});
