/** dist/lockstep where there is nothing but the C library, and where its folder for files is not as it should be. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { BareRoot, cannotRun, executable } from './bare-root.js';

const bytesMax = 115e6;
/** glibc 2.34. */
const glibcMinor = 34;
/** That of GCC 12. */
const libstdcxxMinor = 30;

describe('the single executable', { skip: cannotRun }, () => {
  let root: BareRoot;
  let server: ChildProcess | null = null;
  before(() => {
    root = new BareRoot();
  });
  after(() => root?.remove());
  afterEach(() => {
    server?.kill('SIGKILL');
    server = null;
    if (root !== undefined) rmSync(cache(), { recursive: true, force: true });
  });

  const cache = () => join(root.folder, 'home', '.cache');
  const home = { HOME: '/home' };
  /** The one folder that was unpacked. */
  const unpacked = () => {
    const folder = join(cache(), 'lockstep');
    const names = readdirSync(folder).filter((name) => name.endsWith('.lockstep-executable'));
    assert.equal(names.length, 1);
    return join(folder, names[0]!);
  };
  const filesBelow = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());

  function run(words: readonly string[], { mounts = '', env = home as NodeJS.ProcessEnv, input = '' } = {}) {
    const [program, args] = root.command(words, mounts);
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: { PATH: process.env['PATH'], ...env }, input });
    return { status, stdout, stderr };
  }

  async function serve(...flags: string[]): Promise<{ readonly url: string; readonly client: OpenAI }> {
    const [program, args] = root.command(['serve', ...flags, '--host', '127.0.0.1', '--port', '0']);
    server = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'], ...home } });
    let log = '';
    for await (const chunk of server.stderr!) {
      log += chunk;
      const port = /ready on port (\d+) \(uWebSockets\.js\)/.exec(log)?.[1];
      if (port === undefined) continue;
      const url = `http://127.0.0.1:${port}`;
      return { url, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }) };
    }
    return assert.fail(`the server ended: ${log}`);
  }

  test('it is small, and says its version', () => {
    assert.ok(statSync(executable!).size <= bytesMax);
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    assert.deepEqual(run(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' });
    assert.ok(!existsSync(cache()), 'and unpacks nothing for it');
  });

  test('`doctor` finds all that serving takes', () => {
    const { status, stdout, stderr } = run(['doctor']);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    for (const line of [/^ +HTTP +uWebSockets\.js$/m, /^ +native addon +loaded/m, /^lockstep serve can run here$/m])
      assert.match(stdout, line);
  });

  test('it brings the licences of what others wrote', () => {
    run(['doctor']);
    const text = readFileSync(join(unpacked(), 'LICENSES.txt'), 'utf8');
    for (const name of ['lockstep', 'node-linux-', 'uwebsockets', 'tokenizers', 'preact', 'pino']) {
      assert.match(text, new RegExp(`^${name}\\S* \\d+\\.\\d+`, 'm'));
    }
  });

  test('LOCKSTEP_CACHE may be relative', () => {
    const { status, stderr } = run(['doctor'], { env: { ...home, LOCKSTEP_CACHE: 'home/.cache/lockstep' } });
    assert.equal(status, 0, stderr);
    assert.ok(existsSync(unpacked()));
  });

  test('its addons load with the libraries that the README names', () => {
    run(['doctor']);
    const folder = join(unpacked(), 'prebuilds', `linux-${process.arch}`);
    const latest = (version: RegExp) => {
      const found = readdirSync(folder).flatMap((name) => [...readFileSync(join(folder, name), 'latin1').matchAll(version)]);
      return Math.max(...found.map((match) => Number(match[1])));
    };
    assert.equal(latest(/\bGLIBC_2\.(\d+)/g), glibcMinor);
    assert.equal(latest(/\bGLIBCXX_3\.4\.(\d+)/g), libstdcxxMinor);
  });

  test('`serve` over two ranks: chat, a grammar, the page, `lockstep chat`, `lockstep bench serve`, and its end', async () => {
    const { url, client } = await serve('--tensor-parallel-size', '2', '--api-server-count', '2');
    const messages = [{ role: 'user' as const, content: 'What is Lockstep?' }];
    const { choices } = await client.chat.completions.create({ model: 'guide', messages, temperature: 0, max_tokens: 12 });
    assert.match(choices[0]!.message.content ?? '', /^Lockstep is a server/);
    // A thread of its own compiles it.
    const schema = { type: 'object', properties: { a: { enum: ['x'] } }, required: ['a'], additionalProperties: false };
    const format = { type: 'json_schema' as const, json_schema: { name: 'a', schema } };
    const object = await client.chat.completions.create({ model: 'guide', messages, response_format: format });
    assert.deepEqual(JSON.parse(object.choices[0]!.message.content ?? ''), { a: 'x' });
    assert.match(await (await fetch(url)).text(), /<title>/);

    const talk = run(['chat', '--url', url], { input: 'What is Lockstep?\n' });
    assert.equal(talk.status, 0, talk.stderr);
    assert.match(talk.stdout, /Lockstep/);
    const load = run(['bench', 'serve', '--base-url', url, '--num-prompts', '4', '--random-input-len', '8', '--random-output-len', '8']);
    assert.equal(load.status, 0, load.stderr);
    assert.match(load.stdout, /Successful requests: +4/);

    const exit = once(server!, 'exit');
    server!.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
  });

  test("a model whose tokenizer is the library's", async () => {
    cpSync('test/fixtures/tiny-encoders/bert-mean', join(root.folder, 'bert'), { recursive: true });
    const { client } = await serve('/bert');
    const { data } = await client.embeddings.create({ model: '/bert', input: 'hello', encoding_format: 'float' });
    assert.ok(data[0]!.embedding.length > 0);
  });

  test('`cache clear` leaves what a server runs from, and takes it when that has ended', async () => {
    const env = { ...process.env, LOCKSTEP_CACHE: cache() };
    const clear = () => execFileSync(executable!, ['cache', 'clear'], { env, encoding: 'utf8' });
    server = spawn(executable!, ['serve', '--host', '127.0.0.1', '--port', '0'], { stdio: ['ignore', 'ignore', 'pipe'], env });
    for await (const chunk of server.stderr!) if (String(chunk).includes('ready on port')) break;
    clear();
    assert.equal(readdirSync(cache()).length, 1);
    const exit = once(server, 'exit');
    server.kill('SIGKILL');
    await exit;
    assert.match(clear(), /^[1-9]\d MiB removed/);
    assert.deepEqual(readdirSync(cache()), []);
  });

  test('ten at once into an empty cache', async () => {
    const [program, args] = root.command(['doctor']);
    const starts = Array.from({ length: 10 }, async () => {
      const [code] = await once(spawn(program, args, { stdio: 'ignore', env: { PATH: process.env['PATH'], ...home } }), 'exit');
      return code;
    });
    assert.deepEqual(await Promise.all(starts), new Array(10).fill(0));
    assert.ok(filesBelow(unpacked()).every(({ name }) => !name.endsWith('.partial')));
  });

  test('a changed addon is put right before it is loaded', () => {
    run(['doctor']);
    const addon = join(unpacked(), 'prebuilds', `linux-${process.arch}`, 'lockstep_native.node');
    const bytes = readFileSync(addon);
    writeFileSync(addon, Buffer.from(bytes).fill(0, 4096, 8192));
    assert.equal(run(['doctor']).status, 0);
    assert.ok(readFileSync(addon).equals(bytes));
  });

  test('a folder that is open to others is refused', () => {
    run(['doctor']);
    chmodSync(unpacked(), 0o777);
    const { status, stderr } = run(['doctor']);
    assert.equal(status, 2);
    assert.match(stderr, /^lockstep: \/home\/\.cache\/\S+ is open to other users \(mode 777\): remove it.*\n$/);
  });

  test('a full disk: one line, and no file that is not whole', () => {
    mkdirSync(cache());
    const small = 'mount -t tmpfs -o size=6m tmpfs "$ROOT/home/.cache"';
    const mounts = `${small}; status=0; chroot "$ROOT" /lockstep doctor || status=$?; find "$ROOT/home" -name "*.partial"; exit $status`;
    const { status, stdout, stderr } = run([], { mounts });
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^lockstep: the \d+ MB of files .* cannot be put anywhere: ENOSPC.*LOCKSTEP_CACHE names a folder .* has room\n$/);
  });

  test('a read-only root: one line; with a folder for temporary files it runs and says where from', () => {
    const readOnly = 'mount --bind "$ROOT" "$ROOT"; mount -o remount,bind,ro "$ROOT"';
    const { status, stderr } = run(['doctor'], { mounts: readOnly });
    assert.equal(status, 2);
    assert.match(stderr, /^lockstep: the \d+ MB of files .* cannot be put anywhere: EROFS.*LOCKSTEP_CACHE names.*\n$/);
    assert.equal(run(['--version'], { mounts: readOnly }).status, 0, 'which needs no file');

    mkdirSync(join(root.folder, 'tmp'), { recursive: true });
    const withTmp = run(['doctor'], { mounts: `${readOnly}; mount -t tmpfs tmpfs "$ROOT/tmp"` });
    rmSync(join(root.folder, 'tmp'), { recursive: true });
    assert.equal(withTmp.status, 0, withTmp.stderr);
    assert.match(withTmp.stderr, /^lockstep: unpacked into \/tmp\/\S+, since the cache cannot be used: EROFS.*\n$/);
  });

  test('a processor without AVX2', { skip: spawnSync('qemu-x86_64', ['--version']).status !== 0 && 'qemu-x86_64 is not here' }, () => {
    run(['doctor']);
    // qemu does not load a program that was put together so: Node runs what it has unpacked.
    const words = ['-cpu', 'Nehalem', process.execPath, join(unpacked(), 'start.cjs'), 'doctor'];
    assert.match(
      execFileSync('qemu-x86_64', words, { encoding: 'utf8' }),
      /instruction set +scalar .*\n(.*\n)*lockstep serve can run here/,
    );
    assert.match(run(['doctor'], { env: { ...home, LOCKSTEP_ISA: 'scalar' } }).stdout, /instruction set +scalar/);
  });
});
