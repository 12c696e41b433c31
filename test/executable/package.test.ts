/** What `npm pack` makes, installed into an empty folder, where no compiler is to be had. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';

const tarball = process.env['LOCKSTEP_PACKAGE'] ?? '';
/** Node for Linux on 64-bit Arm, which qemu runs. */
const armNode = process.env['LOCKSTEP_ARM_NODE'] ?? '';

const tarballBytesMax = 30e6;

describe('the npm package', { skip: tarball === '' && 'LOCKSTEP_PACKAGE does not name what `npm pack` made' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-package-'));
  const installed = join(folder, 'node_modules', 'lockstep');
  const env = { ...process.env, CXX: '/nowhere/c++', LOCKSTEP_CACHE: join(folder, 'cache') };
  let server: ChildProcess | null = null;
  before(() => {
    writeFileSync(join(folder, 'package.json'), '{}');
    execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', resolve(tarball)], { cwd: folder, env });
  });
  after(() => {
    if (server?.pid !== undefined) process.kill(-server.pid, 'SIGKILL');
    rmSync(folder, { recursive: true });
  });

  test('it holds native code for Linux alone, and no tests', () => {
    const names = execFileSync('tar', ['-tf', resolve(tarball)], { encoding: 'utf8' }).split('\n');
    const addons = names.filter((name) => name.endsWith('.node')).map((name) => name.replace('package/prebuilds/', ''));
    const each = ['lockstep_native', 'tokenizers', 'uws-115', 'uws-127', 'uws-137'];
    const expected = ['linux-arm64', 'linux-x64'].flatMap((platform) => each.map((name) => `${platform}/${name}.node`));
    assert.deepEqual(addons.sort(), expected);
    assert.deepEqual(
      names.filter((name) => /\.test\.|\.map$|package\/src\//.test(name)),
      [],
    );
    const { size } = statSync(tarball);
    assert.ok(size < tarballBytesMax, `${size} bytes`);
    const others = readdirSync(join(folder, 'node_modules'));
    for (const name of ['uWebSockets.js', 'tokenizers', 'typescript']) assert.ok(!others.includes(name), `${name} is not installed`);
  });

  test('nothing was compiled, and `npx lockstep serve` answers', async () => {
    assert.ok(!existsSync(join(installed, 'build')));
    const words = ['lockstep', 'serve', '--host', '127.0.0.1', '--port', '0'];
    server = spawn('npx', words, { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    let log = '';
    let port: string | undefined;
    for await (const chunk of server.stderr!) {
      log += chunk;
      port = /ready on port (\d+)/.exec(log)?.[1];
      if (port !== undefined) break;
    }
    assert.ok(port !== undefined, log);
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none' });
    const messages = [{ role: 'user' as const, content: 'What is Lockstep?' }];
    const { choices } = await client.chat.completions.create({ model: 'guide', messages, temperature: 0, max_tokens: 12 });
    assert.match(choices[0]!.message.content ?? '', /^Lockstep is a server/);
    assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /<title>/);
  });

  test('on Arm', { skip: armNode === '' && 'LOCKSTEP_ARM_NODE does not name a Node for Arm' }, () => {
    const words = ['-L', '/usr/aarch64-linux-gnu', resolve(armNode), join(installed, 'dist/src/cli/main.js'), 'doctor'];
    const found = execFileSync('qemu-aarch64', words, { encoding: 'utf8', env });
    assert.match(found, /HTTP +uWebSockets\.js\n(.*\n)*.*instruction set +neon/);
    assert.match(found, /lockstep serve can run here/);
  });

  test('without an addon that loads, its install says why, and what a compilation lacks', () => {
    const addon = join(installed, 'prebuilds', `linux-${process.arch}`, 'lockstep_native.node');
    renameSync(addon, `${addon}.away`);
    const { status, stderr } = spawnSync('npm', ['rebuild', 'lockstep'], { cwd: folder, env, encoding: 'utf8' });
    const doctor = spawnSync('npx', ['lockstep', 'doctor'], { cwd: folder, env, encoding: 'utf8' });
    renameSync(`${addon}.away`, addon);
    assert.notEqual(status, 0);
    assert.match(stderr, /cannot be used \(there is none for linux on \w+\): it is compiled here/);
    assert.match(stderr, /missing: a C\+\+17 compiler \(found: none\)\. To install:/);
    assert.equal(doctor.status, 1);
    assert.match(doctor.stdout, /the native addon is not built: .*run `npm rebuild lockstep`/);
  });
});
