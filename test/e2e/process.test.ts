/** `lockstep serve` as a process: how it starts, what it says when it cannot, and how it ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { packageRoot } from '../sameness/engine.js';

const program = join(packageRoot, 'dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'lockstep-process-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Started {
  readonly child: ChildProcess;
  readonly log: () => string;
  /** Exit status; null when a signal ended it. */
  readonly exited: Promise<number | null>;
}

function serve(...args: string[]): Started {
  const child = spawn(process.execPath, [program, 'serve', '--host', '127.0.0.1', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  return { child, log: () => log, exited: once(child, 'close').then(([status]) => status as number | null) };
}

async function ready(started: Started): Promise<string> {
  for (;;) {
    const port = /ready on port (\d+)/.exec(started.log())?.[1];
    if (port !== undefined) return `http://127.0.0.1:${port}`;
    await Promise.race([
      once(started.child.stderr as NodeJS.ReadableStream, 'data'),
      started.exited.then((status) => assert.fail(`ended with ${status}: ${started.log()}`)),
    ]);
  }
}

const stream = (url: string, maxTokens: number) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'What is', max_tokens: maxTokens, ignore_eos: true, stream: true }),
  });

describe('a server that runs', { timeout: 60_000 }, () => {
  test('SIGTERM lets a running stream end, refuses new requests, and exits with 0', async () => {
    const started = serve('--port', '0');
    const url = await ready(started);
    const response = await stream(url, 800);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const { value } = await reader.read();
    started.child.kill('SIGTERM');
    let text = Buffer.from(value ?? []).toString();
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += Buffer.from(part.value).toString();
    assert.match(text, /"finish_reason":"length"/);
    assert.match(text, /data: \[DONE\]\n\n$/);
    assert.equal(await started.exited, 0);
  });

  test('a second SIGTERM ends it at once', async () => {
    const started = serve('--port', '0');
    const url = await ready(started);
    const responses = await Promise.all(Array.from({ length: 16 }, () => stream(url, 990)));
    assert.equal(responses.length, 16);
    started.child.kill('SIGTERM');
    await once(started.child.stderr as NodeJS.ReadableStream, 'data');
    started.child.kill('SIGTERM');
    assert.equal(await started.exited, 143);
    for (const response of responses) await response.body?.cancel().catch(() => {});
  });
});

/** One line on stderr and exit status 2. */
async function refused(expected: RegExp, ...args: string[]): Promise<void> {
  const started = serve('--port', '0', ...args);
  assert.equal(await started.exited, 2, started.log());
  assert.match(started.log(), expected);
  assert.equal(started.log().trimEnd().split('\n').length, 1, started.log());
}

function copyOfGuide(name: string): string {
  const copy = join(folder, name);
  mkdirSync(copy);
  for (const file of ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(join(packageRoot, 'models/guide', file), join(copy, file));
  }
  return copy;
}

describe('a server that cannot start says why', { timeout: 60_000 }, () => {
  test('a folder that is not there', () => refused(/\/no\/such\/model: no such folder/, '/no/such/model'));
  test('truncated weights', async () => {
    const copy = copyOfGuide('truncated');
    truncateSync(join(copy, 'model.safetensors'), 100_000);
    await refused(/model\.safetensors/, copy);
  });
  test('an architecture that nobody knows', async () => {
    const copy = copyOfGuide('architecture');
    const path = join(copy, 'config.json');
    writeFileSync(
      path,
      JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), architectures: ['ParrotForCausalLM'], model_type: 'parrot' }),
    );
    await refused(/ParrotForCausalLM/, copy);
  });
  test('a tokenizer that cannot be read', async () => {
    const copy = copyOfGuide('tokenizer');
    writeFileSync(join(copy, 'tokenizer.json'), '{"model": ');
    await refused(/tokenizer\.json/, copy);
  });
  test('a size of 0, or above 64', async () => {
    await refused(/--tensor-parallel-size/, '-tp', '0');
    await refused(/--tensor-parallel-size.*64/, '-tp', '65');
  });
  test('too little memory for one sequence', () => refused(/--max-model-len/, '--kv-cache-memory-bytes', '64K'));
  test('a port in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    assert.ok(address !== null && typeof address === 'object');
    await refused(new RegExp(String(address.port)), '--port', String(address.port));
    other.close();
  });
});
