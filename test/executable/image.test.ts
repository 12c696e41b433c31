/** The image that scripts/image makes, unpacked and run by a user without rights on a root that is read-only. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import OpenAI from 'openai';

const archive = process.env['LOCKSTEP_IMAGE'] ?? '';
const unpackedBytesMax = 200e6;

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface Configuration {
  readonly config: { readonly User: string; readonly Env: readonly string[]; readonly Entrypoint: readonly string[] };
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

describe('the image', { skip: archive === '' && 'LOCKSTEP_IMAGE does not name what scripts/image made' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-image-'));
  const root = join(folder, 'root');
  let image: Configuration;
  let layers: readonly Buffer[];
  let name = '';
  let server: ChildProcess | null = null;

  function blob({ digest, size }: Descriptor): Buffer {
    const bytes = readFileSync(join(folder, 'oci', 'blobs', digest.replace(':', '/')));
    assert.deepEqual([digestOf(bytes), bytes.length], [digest, size]);
    return bytes;
  }

  before(() => {
    for (const name of ['oci', 'root']) mkdirSync(join(folder, name));
    execFileSync('tar', ['-C', join(folder, 'oci'), '-xf', resolve(archive)]);
    const index = JSON.parse(readFileSync(join(folder, 'oci', 'index.json'), 'utf8')) as {
      manifests: (Descriptor & { annotations: Record<string, string> })[];
    };
    name = index.manifests[0]!.annotations['io.containerd.image.name']!;
    const manifest = JSON.parse(String(blob(index.manifests[0]!))) as { config: Descriptor; layers: Descriptor[] };
    image = JSON.parse(String(blob(manifest.config))) as Configuration;
    layers = manifest.layers.map((layer) => gunzipSync(blob(layer)));
    for (const input of layers) execFileSync('tar', ['-C', root, '--no-same-owner', '-x'], { input });
    for (const name of ['proc', 'model']) mkdirSync(join(root, name));
    cpSync('test/fixtures/stories260K', join(root, 'model'), { recursive: true });
  });
  after(() => rmSync(folder, { recursive: true }));
  afterEach(() => {
    server?.kill('SIGKILL');
    server = null;
  });

  /** A program of the image and its arguments, as a container engine starts it with `--read-only`. */
  function command(words: readonly string[]): readonly [string, string[]] {
    const [user] = image.config.User.split(':');
    const script = `set -e; ROOT="$1"; shift; mount --bind "$ROOT" "$ROOT"; mount --rbind /proc "$ROOT/proc"
      mount -o remount,bind,ro "$ROOT"; exec chroot "$ROOT" "$@"`;
    return ['unshare', ['-U', `--map-user=${user}`, `--map-group=${user}`, '--keep-caps', '-m', 'sh', '-c', script, 'sh', root, ...words]];
  }

  const environment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
    ...Object.fromEntries(image.config.Env.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string])),
    PATH: process.env['PATH'],
    ...more,
  });

  async function start(...flags: string[]): Promise<string> {
    const [program, args] = command([...image.config.Entrypoint, ...flags]);
    server = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: environment() });
    let log = '';
    for await (const chunk of server.stderr!) {
      log += chunk;
      const port = /ready on port (\d+) \(uWebSockets\.js\)/.exec(log)?.[1];
      if (port !== undefined) return port;
    }
    return assert.fail(`the server ended: ${log}`);
  }

  test('it is small, and its layers are those that it names', () => {
    assert.deepEqual(layers.map(digestOf), image.rootfs.diff_ids);
    const size = layers.reduce((sum, { length }) => sum + length, 0);
    assert.ok(size <= unpackedBytesMax, `${size} bytes`);
    assert.match(image.config.User, /^[1-9]\d+:[1-9]\d+$/);
  });

  test("it serves with the arguments of vLLM's image, is well, and drains on SIGTERM", async () => {
    const port = await start('--model', '/model', '--gpu-memory-utilization', '0.90', '--port', '0');
    const health = () => {
      const [program, args] = command(['/usr/bin/lockstep', 'health']);
      const { status, stdout } = spawnSync(program, args, { env: environment({ LOCKSTEP_PORT: port }), encoding: 'utf8' });
      return { status, stdout };
    };
    assert.deepEqual(health(), { status: 0, stdout: 'well\n' });
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
    const exit = once(server!, 'exit');
    const asked = { model: '/model', prompt: 'Once upon a time', n: 32, max_tokens: 200, stream: true as const, ...{ ignore_eos: true } };
    let ended = 0;
    let told = false;
    for await (const { choices } of await client.completions.create(asked)) {
      if (!told) server!.kill('SIGTERM');
      told = true;
      ended += choices.filter(({ finish_reason: reason }) => (reason as string | null) === 'length').length;
    }
    assert.equal(ended, asked.n);
    assert.deepEqual(await exit, [0, null]);
    assert.equal(health().status, 1);
  });

  test('its name says whether it has CUDA; without a driver it serves on the CPU, and says why on no other', async () => {
    const isCuda = name.startsWith('lockstep-cuda:');
    assert.ok(isCuda || name.startsWith('lockstep-cpu:'), name);
    const run = (...words: string[]) => {
      const [program, args] = command(['/usr/bin/lockstep', ...words]);
      return spawnSync(program, args, { env: environment(), encoding: 'utf8' });
    };
    assert.match(run('doctor').stdout, isCuda ? /CUDA +runtime \d+\.\d \(there is no NVIDIA driver/ : /CUDA +not in this build/);
    await start('--model', '/model', '--device', 'cpu', '--port', '0');
    const { status, stderr } = run('serve', '--model', '/model', '--device', 'cuda', '--port', '0');
    assert.equal(status, 2, stderr);
    assert.match(stderr, isCuda ? /there is no NVIDIA driver/ : /CUDA/);
  });

  test('a cache that cannot be written is named in one line', () => {
    const [program, args] = command(image.config.Entrypoint);
    const env = environment({ LOCKSTEP_CACHE: '/var/cache/other' });
    const { status, stderr } = spawnSync(program, args, { env, encoding: 'utf8' });
    assert.equal(status, 2);
    assert.match(
      stderr,
      /^lockstep: the \d+ MB of files .* EROFS: read-only file system, mkdir '\/var\/cache\/other'; LOCKSTEP_CACHE names .*\n$/,
    );
  });
});
