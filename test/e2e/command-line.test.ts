/** What the command line says: help, slips of the pen, and the message of a start, which a person at a terminal sees and a log does not. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

const main = 'dist/src/cli/main.js';

function lockstep(...argv: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...argv], { encoding: 'utf8', timeout: 30_000 });
  return { status, stdout, stderr };
}

test('help, of all commands, of some, of one and of one flag', () => {
  assert.match(lockstep().stdout, /^usage: lockstep COMMAND/);
  assert.match(lockstep('bench').stdout, /lockstep bench throughput/);
  assert.match(lockstep('bench', 'serve', '--help').stdout, /^usage: lockstep bench serve \[options\]\n/);
  const { status, stdout, stderr } = lockstep('serve', '--help=max-num-seqs');
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^--max-num-seqs N\n/);
});

test('a mistyped command or flag is answered with the nearest', () => {
  const slips: readonly [argv: readonly string[], message: RegExp][] = [
    [['sevre'], /there is no command 'sevre' \(is serve meant\?\); there are: serve, bench serve/],
    [['bench', 'srve'], /no command 'bench srve' \(is bench serve meant\?\)/],
    [['bnech', 'serve'], /no command 'bnech' \(is bench serve meant\?\)/],
    [['cahce'], /no command 'cahce' \(is cache meant\?\)/],
    [['serve', '--max-num-sesq', '4'], /unknown option '--max-num-sesq' \(Did you mean --max-num-seqs\?\)/],
    [['serve', '--hlep'], /unknown option '--hlep' \(Did you mean --help\?\)/],
    [['chat', '--ulr', 'x'], /unknown option '--ulr' \(Did you mean --url\?\)/],
    [['serve', '--help=max-num-sesq'], /\(is max-num-seqs meant\?\)/],
    [['completion'], /completion needs the name of a shell: bash, zsh, fish/],
  ];
  for (const [argv, message] of slips) {
    const { status, stdout, stderr } = lockstep(...argv);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^lockstep: [^\n]+\n$/);
    assert.match(stderr, message);
  }
});

test('the completion of every command', () => {
  const { stdout } = lockstep('completion', 'bash');
  for (const name of ['serve', 'bench serve', 'doctor', 'cache clear', 'completion']) assert.ok(stdout.includes(`'${name}') flags=`), name);
});

/** script of util-linux gives a program a terminal. */
const hasScript = /util-linux/.test(spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '');

/** Everything that a server says until it serves, and then until SIGINT has ended it. */
async function sayings(program: string, argv: readonly string[], ready: RegExp): Promise<string> {
  const server = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let text = '';
  const closed = once(server, 'close');
  for (const stream of [server.stdout, server.stderr]) {
    stream.on('data', (chunk) => {
      const wasReady = ready.test(text);
      text += chunk;
      if (!wasReady && ready.test(text)) process.kill(-server.pid!, 'SIGINT');
    });
  }
  await closed;
  return text;
}

const serve = [main, 'serve', '--host', '127.0.0.1', '--port', '0'];

test('at a terminal: the message, and no record of the same', {
  skip: !hasScript && 'script of util-linux is not here',
  timeout: 60_000,
}, async () => {
  const text = await sayings('script', ['-qec', [process.execPath, ...serve].join(' '), '/dev/null'], /\^C finishes/);
  const shown = text.replace(/\r/g, '');
  assert.match(shown, /\n {2}Lockstep \d+\.\d+\.\d+, ready after [\d.]+ s\n/);
  assert.match(shown, /\n {2}API +http:\/\/127\.0\.0\.1:[1-9]\d*\/v1\n {2}Page +http:\/\/127\.0\.0\.1:\d+\/\n {2}Model +guide: /);
  assert.match(shown, /\n {2}KV cache +[1-9][\d,]* tokens in .*\n {2}Requests +256 at once at most; [1-9][\d,]* of the full length /);
  assert.match(shown, /\n {2}curl http:\/\/127\.0\.0\.1:\d+\/v1\/chat\/completions /);
  assert.ok(!shown.includes('ready on port'), shown);
});

test('elsewhere: a record alone', { timeout: 60_000 }, async () => {
  const text = await sayings(process.execPath, serve, /ready on port/);
  // Before it there may be one that uWebSockets.js does not load.
  const record = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .find(({ msg }) => !String(msg).startsWith('uWebSockets.js does not load'));
  assert.match(String(record?.['msg']), /^ready on port \d+ \(.*\): http:\/\/127\.0\.0\.1:\d+\/v1$/);
  assert.ok(Number(record?.['kvTokens']) > 0);
});
