/**
 * `lockstep serve` on GPUs, without one: the package with the addon whose CUDA runtime has devices of host memory and runs the kernels' own source
 * (native/test/fake), and a libnccl of the tests'.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { addonPath } from '../../src/addon/load.js';

const built = dirname(addonPath());
const nccl = join(built, 'liblockstep_fake_nccl.so');
const cublasLt = join(built, 'liblockstep_fake_cublaslt.so');
const model = 'test/fixtures/stories260K';
const timeoutMs = 120_000;

/** In build/, so that packages are found from there. */
const packageFolder = mkdtempSync(join('build', 'emulated-'));
after(() => rmSync(packageFolder, { recursive: true }));
cpSync('dist', join(packageFolder, 'dist'), { recursive: true });
cpSync('package.json', join(packageFolder, 'package.json'));
mkdirSync(join(packageFolder, 'build/Release'), { recursive: true });
symlinkSync(join(built, 'lockstep_emulated.node'), join(packageFolder, 'build/Release/lockstep_native.node'));

type Variables = Readonly<Record<string, string>>;

let server: ChildProcess | null = null;
let log = '';
afterEach(() => server?.kill('SIGKILL'));

function run(variables: Variables, ...args: readonly string[]): ChildProcess {
  const argv = [join(packageFolder, 'dist/src/cli/main.js'), ...args];
  const started = spawn(process.execPath, argv, {
    env: { ...process.env, LOCKSTEP_DEVICE: 'auto', ...variables },
    timeout: timeoutMs,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  server = started;
  log = '';
  started.stderr?.on('data', (chunk) => {
    if (server === started) log += chunk;
  });
  return started;
}

const serveArgs = [
  'serve',
  model,
  '--host',
  '127.0.0.1',
  '--port',
  '0',
  '--dtype',
  'float32',
  '--nccl-library',
  nccl,
  '--cublaslt-library',
  cublasLt,
];
const fewBlocks = ['--kv-cache-memory-bytes', '2M'];

/** The base URL of a server that is ready. */
async function serve(variables: Variables, ...args: readonly string[]): Promise<string> {
  const started = run(variables, ...serveArgs, ...args);
  const ended = once(started, 'exit').then(() => assert.fail(`the server ended: ${log}`));
  for (;;) {
    await Promise.race([once(started.stderr!, 'data'), ended]);
    const port = /ready on port (\d+)/.exec(log)?.[1];
    if (port !== undefined) return `http://127.0.0.1:${port}`;
  }
}

/** What keeps it from serving: its status, and its one line. */
async function refusal(variables: Variables, ...args: readonly string[]): Promise<string> {
  const [status] = await once(run(variables, ...serveArgs, '--log-level', 'error', ...args), 'close');
  assert.equal(status, 2, log);
  assert.match(log, /^lockstep: [^\n]+\n$/);
  return log;
}

interface Completion {
  readonly choices: readonly { readonly text: string; readonly token_ids: readonly number[]; readonly finish_reason: string | null }[];
}

/** Of more tokens than a recorded step has, so that cuBLASLt has products too. */
const prompt = 'Once upon a time there was a little girl who had a big red ball. She took it to the park.';

const post = (url: string, fields: Readonly<Record<string, unknown>>) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt, temperature: 0, ...fields }),
  });

async function idsOf(url: string, fields: Readonly<Record<string, unknown>>): Promise<readonly number[][]> {
  const response = await post(url, { return_token_ids: true, ...fields });
  assert.equal(response.status, 200);
  return ((await response.json()) as Completion).choices.map(({ token_ids: ids }) => [...ids]);
}

const greedy = { max_tokens: 16 };
const sampled = { max_tokens: 8, temperature: 1, top_p: 0.9, seed: 7, n: 2 };

test('on one GPU and on two the ids of the CPU, greedy and sampled', { timeout: timeoutMs }, async () => {
  const answers: (readonly number[][])[] = [];
  for (const args of [
    ['--device', 'cpu'],
    ['--device', 'cuda', ...fewBlocks],
    ['-tp', '2', ...fewBlocks],
    ['-tp', '2', '--enforce-eager', '--disable-custom-all-reduce', ...fewBlocks],
    ['-tp', '3', '--deterministic', ...fewBlocks],
  ]) {
    const url = await serve({}, ...args);
    answers.push([...(await idsOf(url, greedy)), ...(await idsOf(url, sampled))]);
    assert.equal(answers[0]!.length, 3);
    assert.deepEqual(answers.at(-1), answers[0], args.join(' '));
    if (args[0] === '-tp') await expectPlaces(url, Number(args[1]));
    server?.kill('SIGTERM');
    assert.deepEqual(await once(server!, 'exit'), [0, null], log);
  }
});

/** auto is cuda where there is one: the start's record and what the server says of its ranks. */
async function expectPlaces(url: string, worldSize: number): Promise<void> {
  const devices = Array.from({ length: worldSize }, (_, rank) => `cuda:${rank} Fake GPU ${rank}`);
  const { ranks } = (await (await fetch(`${url}/engine`)).json()) as { ranks: { devices: string[]; mode: string } };
  assert.deepEqual(ranks.devices, devices);
  assert.equal(ranks.mode, 'reduce');
  const metrics = await (await fetch(`${url}/metrics`)).text();
  for (const [rank, device] of devices.entries())
    assert.match(metrics, new RegExp(`^lockstep:rank_info\\{device="${device}",rank="${rank}"\\} 1$`, 'm'));
  assert.ok(log.includes(`"devices":${JSON.stringify(devices)}`), log);
}

test('GPUs are chosen by CUDA_VISIBLE_DEVICES, and the KV cache is what the memory leaves', { timeout: timeoutMs }, async () => {
  const url = await serve({ CUDA_VISIBLE_DEVICES: '2', EMULATED_GPU_MIB: '240' });
  const state = (await (await fetch(`${url}/engine`)).json()) as { ranks: { devices: string[] }; memory: { kv_cache_bytes: number } };
  assert.deepEqual(state.ranks.devices, ['cuda:0 Fake GPU 2']);
  const [least, most] = [10 * 2 ** 20, (240 * 0.92 - 160) * 2 ** 20];
  assert.ok(state.memory.kv_cache_bytes > least && state.memory.kv_cache_bytes < most, `${state.memory.kv_cache_bytes} bytes of KV cache`);
  assert.equal((await idsOf(url, { max_tokens: 2 })).length, 1);
});

test('what GPUs cannot do, or do not hold, is one line that says what would', { timeout: timeoutMs }, async () => {
  assert.match(
    await refusal({ EMULATED_GPUS: '1' }, '-tp', '2'),
    /--tensor-parallel-size 2 needs as many GPUs, and there is 1; --device cpu serves without/,
  );
  const hidden = await refusal({ CUDA_VISIBLE_DEVICES: '0,5,9,1' }, '-tp', '3');
  assert.match(hidden, /needs as many GPUs, and there are 2 \(CUDA_VISIBLE_DEVICES is '0,5,9,1'\)/);
  assert.match(await refusal({ EMULATED_GPUS: '0' }, '--device', 'cuda'), /--device cuda: .*'lockstep doctor' says what was found/);
  assert.match(await refusal({}, '--kv-cache-dtype', 'int8'), /--kv-cache-dtype int8 is not for GPUs: .*--device cpu/);
  assert.match(await refusal({}, '--tensor-parallel-mode', 'gather'), /--tensor-parallel-mode gather is not for GPUs/);
  const apart = await refusal({ EMULATED_GPUS_APART: '1' }, '-tp', '2', '--nccl-library', '/nowhere.so', ...fewBlocks);
  assert.match(
    apart,
    /several GPUs need NCCL, or to reach each other's memory: the GPUs do not reach .*; no libnccl was taken .*\/nowhere\.so/,
  );
  assert.match(
    await refusal({ EMULATED_GPUS_APART: '1' }, '-tp', '2', '--deterministic', ...fewBlocks),
    /sums in a fixed order need GPUs that reach/,
  );
  assert.match(await refusal({}, '--deterministic', '--disable-custom-all-reduce'), /exclude each other/);
  assert.match(await refusal({}, '--cpu-threads', '2'), /--cpu-threads 2 is not for GPUs/);
  assert.match(
    await refusal({ EMULATED_GPU_MIB: '160' }),
    /the weights take .* MiB of GPU 0 are .*: use more GPUs \(--tensor-parallel-size\) or a smaller model/,
  );
  assert.match(
    await refusal({ EMULATED_GPU_MIB: '240' }, '--kv-cache-memory-bytes', '1G'),
    /asks for 1\.0 GiB; beside the weights .* are free on GPU 0/,
  );
  assert.match(
    await refusal({}, '--kv-cache-memory-bytes', '200K'),
    /KV cache of 200\.0 KiB of GPU 0 holds \d+ tokens, .*: set --max-model-len \d+ or less/,
  );
  assert.match(
    await refusal({ EMULATED_GPUS: '0' }, '--kv-cache-memory-bytes', '200K'),
    /the KV cache of 200\.0 KiB holds \d+ tokens/,
    'auto is cpu where there is none',
  );
});

/** From what was noticed to the end of the process. */
const endMsMax = 2000;

/** The last event of a stream of which `fault` ("device:error") cuts off the rest; and how long the process went on. */
async function cutOff(fault: string, ...args: readonly string[]): Promise<{ error: string; endMs: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-fault-'));
  try {
    const file = join(folder, 'now');
    const url = await serve({ EMULATED_GPU_FAULT: `${fault}:${file}` }, ...args, ...fewBlocks);
    const ended = once(server!, 'exit');
    const response = await post(url, { max_tokens: 450, stream: true, ignore_eos: true });
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.split('\n\n').length > 3) writeFileSync(file, '');
    }
    const noticedMs = performance.now();
    const [status] = await ended;
    assert.equal(status, 1, log);
    const events = text.trimEnd().split('\n\n');
    assert.equal(events.at(-1), 'data: [DONE]');
    const { error } = JSON.parse(events.at(-2)!.replace(/^data: /, '')) as { error: { message: string } };
    return { error: error.message, endMs: performance.now() - noticedMs };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const world of [1, 2, 3, 8]) {
  test(`a GPU that breaks, the last of ${world}: an error event, the reason, and an end in time`, { timeout: timeoutMs }, async () => {
    const { error, endMs } = await cutOff(`${world - 1}:700`, '-tp', String(world));
    assert.match(error, /engine/i);
    assert.match(log, /"reason":"rank \d: CUDA: [^"]*cudaErrorIllegalAddress/);
    assert.ok(endMs < endMsMax, `${endMs} ms`);
  });
}

for (const world of [1, 2, 8]) {
  test(`a GPU that hangs, the last of ${world}, in a collective where there are several`, { timeout: timeoutMs }, async () => {
    const { endMs } = await cutOff(`${world - 1}:600`, '-tp', String(world), '--distributed-timeout-seconds', '4');
    assert.match(log, /"reason":"rank \d: [^"]*made no progress for 4000 ms/);
    assert.ok(endMs < endMsMax, `${endMs} ms`);
  });
}
