/** A start answers before it can serve: 503 with Retry-After on every route until the model is there, then 200; and a second start is warm. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-order-'));
after(() => rmSync(folder, { recursive: true }));

/** The bundled model with a tokenizer file that takes a while to read. */
const model = join(folder, 'model');
cpSync('models/guide', model, { recursive: true });
const tokenizerPath = join(model, 'tokenizer.json');
const tokenizer = JSON.parse(readFileSync(tokenizerPath, 'utf8')) as object;
writeFileSync(tokenizerPath, JSON.stringify({ ...tokenizer, filler: Array.from({ length: 400_000 }, (_, i) => `text ${i}`) }));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const cache = join(folder, 'cache');
const routes = ['/health', '/v1/models', '/ping'];

/** Starts a server, asks all routes until all are ready, and stops it after `useMs`. */
async function watchStart(useMs: number): Promise<{ path: string; status: number; retryAfter: string | null }[]> {
  const port = await freePort();
  const argv = ['dist/src/cli/main.js', 'serve', model, '--host', '127.0.0.1', '--port', String(port), '--log-level', 'error'];
  const child = spawn(process.execPath, argv, { env: { ...process.env, LOCKSTEP_CACHE: cache }, stdio: ['ignore', 'ignore', 'inherit'] });
  const answers: { path: string; status: number; retryAfter: string | null }[] = [];
  try {
    for (let ready = false; !ready; ) {
      assert.equal(child.exitCode, null, 'the server ended');
      const asked = await Promise.all(
        routes.map((path) =>
          fetch(`http://127.0.0.1:${port}${path}`).then(
            (answer) => ({ path, status: answer.status, retryAfter: answer.headers.get('retry-after') }),
            () => null, // not listening yet
          ),
        ),
      );
      answers.push(...asked.filter((answer) => answer !== null));
      ready = asked.every((answer) => answer?.status === 200);
    }
    await delay(useMs);
    while (useMs > 0 && !existsSync(cache)) await delay(50);
    return answers;
  } finally {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  }
}

test('503 with Retry-After on every route until the model is there, then 200', { timeout: 60_000 }, async () => {
  const answers = await watchStart(0);
  for (const path of routes) {
    const statuses = answers.filter((answer) => answer.path === path).map(({ status }) => status);
    assert.ok(statuses.includes(503), `${path} was not answered while the model loaded: ${statuses}`);
    assert.deepEqual([...new Set(statuses)], [503, 200], path);
  }
  for (const { path, status, retryAfter } of answers) if (status === 503) assert.match(retryAfter ?? '', /^\d+$/, path);
});

test('the tokenizer is kept for the next start', { timeout: 60_000 }, async () => {
  await watchStart(2000);
  while (readdirSync(cache).some((name) => name.endsWith('.partial'))) await delay(20);
  const kept = readdirSync(cache);
  assert.equal(kept.length, 1);
  assert.match(kept[0]!, /\.lockstep-tokenizer$/);
  const before = readFileSync(join(cache, kept[0]!));
  await watchStart(0);
  assert.deepEqual(readdirSync(cache), kept);
  assert.ok(readFileSync(join(cache, kept[0]!)).equals(before));
});
