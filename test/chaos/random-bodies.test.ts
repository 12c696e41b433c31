/**
 * Random bodies against the real server and a real model, many at a time, some of them mangled and some abandoned by their clients. Nothing is
 * answered with a 5xx, nothing crashes, and afterwards the server holds what it held before. LOCKSTEP_FUZZ_BODIES: how many.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { randomBodies } from '../../src/api/random-bodies.js';
import type { Held } from './memory-probe.js';

const numBodies = Number(process.env['LOCKSTEP_FUZZ_BODIES'] ?? 1500);
const seed = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? 1);
const clients = 48;
/**
 * What caches with bounds of their own come to hold: 4,096 responses, 256 grammars, templates. The heap levels off with them: 16 MiB after 27,000
 * bodies, 28 after 240,000, 31 after 540,000.
 */
const heapGrowthMax = 24 * 2 ** 20;
/**
 * The same, the grammars' automata (64 MiB at most, outside of the heap), garbage for which V8 keeps pages (up to four times what lives), and what
 * glibc's arenas keep. From 180 to 215 MiB after the first bodies to 255 after 240,000 where every large block is mapped for itself
 * (MALLOC_MMAP_THRESHOLD_=131072), 386 after 540,000 where not.
 */
const rssGrowthMax = 128 * 2 ** 20;
/** Open files and handles of the threads that are started for grammars and for long prompts. */
const threadHandlesMax = 16;
const answerMsMax = 60_000;

let server: ChildProcess | null = null;
afterEach(() => server?.kill('SIGKILL'));

interface Sent {
  readonly path: string;
  readonly body: Buffer;
  /** The client goes away after so many milliseconds; null: it waits. */
  readonly patienceMs: number | null;
}

/** Texts of JSON, some cut off or with a wrong byte in them. */
function sentTo(paths: typeof randomBodies): fc.Arbitrary<Sent> {
  const body = fc.oneof(...paths.map(({ path, bodies }) => bodies.map((value) => ({ path, text: Buffer.from(JSON.stringify(value)) }))));
  const fault = fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.tuple(fc.nat(), fc.nat(256)) });
  const patienceMs = fc.oneof({ weight: 7, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(30) });
  return fc.record({ body, fault, patienceMs }).map(({ body: { path, text }, fault: wrong, patienceMs: patience }) => {
    if (wrong === null) return { path, body: text, patienceMs: patience };
    const at = wrong[0] % text.length;
    if (wrong[1] === 256) return { path, body: text.subarray(0, at), patienceMs: patience };
    text[at] = wrong[1];
    return { path, body: text, patienceMs: patience };
  });
}

/** Its status and its answer; null where the client went away. */
function send(port: number, agent: Agent, { path, body, patienceMs }: Sent): Promise<{ status: number; text: string } | null> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const sent = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => {
        text += piece;
      });
      answer.on('end', () => done({ status: answer.statusCode ?? 0, text }));
      answer.on('error', gone);
    });
    const timer = setTimeout(() => {
      if (patienceMs === null) reject(new Error(`no answer from ${path} within ${answerMsMax} ms: ${body}`));
      sent.destroy();
    }, patienceMs ?? answerMsMax);
    const done = (answer: { status: number; text: string } | null) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const gone = (error: Error) => {
      if (patienceMs !== null) return done(null);
      clearTimeout(timer);
      reject(new Error(`${path}: ${error.message}: ${body}`));
    };
    sent.on('error', gone);
    sent.end(body);
  });
}

/** So many bodies, by many clients at once; counts of the answers by the first digit of their status. */
async function fuzz(port: number, paths: typeof randomBodies, count: number, from: number): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const counts: Record<string, number> = {};
  const batch = 500;
  for (let i = 0; i < count; i += batch) {
    const waiting = fc.sample(sentTo(paths), { numRuns: Math.min(batch, count - i), seed: from + i });
    const client = async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const answer = await send(port, agent, next);
        const kind = answer === null ? 'left' : `${Math.floor(answer.status / 100)}xx`;
        counts[kind] = (counts[kind] ?? 0) + 1;
        const isSound = answer === null || (answer.status < 500 && !answer.text.includes('Internal server error'));
        assert.ok(isSound, `${answer?.status} ${answer?.text} from ${next.path} for ${next.body}`);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  }
  agent.destroy();
  return counts;
}

interface State extends Held {
  readonly openFiles: number;
}

/** What the server holds once nothing runs. */
async function atRest(port: number): Promise<State> {
  const metrics = async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return (name: string) => Number(new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, 'm').exec(text)?.[1]);
  };
  const busy = ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc'].map((name) => `vllm:${name}`);
  const deadline = Date.now() + 10_000;
  for (let now = await metrics(); busy.some((name) => now(name) !== 0); now = await metrics()) {
    if (Date.now() > deadline) assert.fail(`still busy: ${busy.map((name) => `${name} ${now(name)}`).join(', ')}`);
    await sleep(50);
  }
  const answered = once(server!, 'message') as Promise<[Held]>;
  server!.send('held');
  const [held] = await answered;
  return { ...held, openFiles: (await metrics())('process_open_fds') };
}

for (const { name, model, pools, share } of [
  { name: 'a model that generates', model: [], pools: false, share: 0.9 },
  { name: 'a model that gives vectors', model: ['test/fixtures/tiny-encoders/bert-mean'], pools: true, share: 0.1 },
]) {
  test(`random bodies for ${name}`, async () => {
    const flags = ['--tool-call-parser', 'hermes', '--enable-auto-tool-choice', '--reasoning-parser', 'qwen3', '--max-model-len', '128'];
    const args = ['serve', ...model, '--host', '127.0.0.1', '--port', '0', '--max-num-seqs', '32', ...(pools ? [] : flags)];
    const probe = new URL('memory-probe.js', import.meta.url).href;
    server = fork('dist/src/cli/main.js', args, { execArgv: ['--import', probe], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let log = '';
    server.stderr!.on('data', (chunk) => {
      log += chunk;
    });
    while (!/ready on port \d+/.test(log)) {
      assert.equal(server.exitCode, null, log);
      await sleep(20);
    }
    const port = Number(/ready on port (\d+)/.exec(log)![1]);
    const paths = randomBodies.filter((route) => route.pools === pools);
    const count = Math.ceil(numBodies * share);

    const first = await fuzz(port, paths, Math.ceil(count / 10), seed);
    const before = await atRest(port);
    const counts = await fuzz(port, paths, count, seed + count);
    const after = await atRest(port);
    const inMib = ({ heapBytes, rssBytes, openFiles }: State) =>
      `heap ${(heapBytes / 2 ** 20).toFixed(1)} MiB, RSS ${(rssBytes / 2 ** 20).toFixed(0)} MiB, ${openFiles} open files`;
    console.log(`${name}: ${JSON.stringify(first)}: ${inMib(before)}; then ${JSON.stringify(counts)}: ${inMib(after)}`);

    assert.ok((counts['2xx'] ?? 0) > count / 50, 'some bodies are right');
    assert.ok(after.heapBytes - before.heapBytes < heapGrowthMax, 'the heap has grown');
    assert.ok(after.rssBytes - before.rssBytes < rssGrowthMax, 'the process has grown');
    assert.ok(after.openFiles - before.openFiles <= threadHandlesMax, 'files were left open');
    assert.ok(after.handles.length - before.handles.length <= threadHandlesMax, `handles were left open: ${after.handles.join(', ')}`);
    server.kill('SIGTERM');
    assert.deepEqual(await once(server, 'exit'), [0, null]);
  });
}
