/** What `lockstep serve` cannot serve: one line on stderr that names it, nothing on stdout, exit status 2. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-start-'));
after(() => rmSync(folder, { recursive: true }));

const timeoutMs = 60_000;

/** Runs `lockstep serve` to its end, which must come by itself. */
function serve(args: readonly string[]) {
  return new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
    const argv = ['dist/src/cli/main.js', 'serve', '--host', '127.0.0.1', '--port', '0', '--log-level', 'error', ...args];
    const env = { ...process.env, CUDA_VISIBLE_DEVICES: '' };
    const child = spawn(process.execPath, argv, { env, timeout: timeoutMs });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

/** The bundled model with some files changed. */
function spoilt(name: string, spoil: (path: string) => void): string {
  const path = join(folder, name);
  cpSync('models/guide', path, { recursive: true });
  spoil(path);
  return path;
}

function withConfig(name: string, changes: Record<string, unknown>): string {
  return spoilt(name, (path) => {
    const file = join(path, 'config.json');
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), ...changes }));
  });
}

const empty = join(folder, 'empty');
mkdirSync(empty);
const notGguf = join(folder, 'text.gguf');
writeFileSync(notGguf, 'this is text, and a little more of it so that a header could be there');

const cases: readonly [name: string, args: readonly string[], message: RegExp][] = [
  ['a missing folder', ['/nowhere/model'], /\/nowhere\/model/],
  ['a folder without a model', [empty], /config\.json/],
  ['a file that is no GGUF', [notGguf], /GGUF/],
  ['truncated weights', [spoilt('truncated', (path) => truncateSync(join(path, 'model.safetensors'), 100_000))], /model\.safetensors/],
  ['an unknown architecture', [withConfig('architecture', { architectures: ['NoSuchForCausalLM'] })], /NoSuchForCausalLM/],
  ['a broken tokenizer', [spoilt('tokenizer', (path) => writeFileSync(join(path, 'tokenizer.json'), '{'))], /tokenizer\.json/],
  ['no ranks', ['--tensor-parallel-size', '0'], /--tensor-parallel-size must be between 1 and 64/],
  ['too many ranks', ['-tp', '65'], /--tensor-parallel-size must be between 1 and 64/],
  ['a length beyond the model', ['--max-model-len', '1M'], /--max-model-len/],
  ['a KV cache too small for one token', ['--kv-cache-memory-bytes', '1K'], /1\.0 KiB holds 0 tokens.*: raise --kv-cache-memory-bytes/],
  ['a KV cache too small for one sequence', ['--kv-cache-memory-bytes', '1M'], /set --max-model-len \d+ or less, or raise/],
  ['a dtype without kernels', ['--dtype', 'half'], /--dtype half/],
  ['a missing chat template', ['--chat-template', '/nowhere.jinja'], /--chat-template \/nowhere\.jinja/],
  ['a flag of a GPU', ['--kv-offloading-size', '9'], /--kv-offloading-size is not supported/],
  ['a GPU', ['--device', 'cuda'], /--device cuda: .*'lockstep doctor' says what was found/],
];

for (const [name, args, message] of cases) {
  test(name, async () => {
    const { status, stdout, stderr } = await serve(args);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^lockstep: [^\n]+\n$/);
    assert.match(stderr, message);
  });
}

test('a port in use', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as { port: number };
  for (const backend of ['auto', 'node']) {
    const { status, stderr } = await serve(['--http-backend', backend, '--port', String(port)]);
    assert.equal(status, 2, stderr);
    assert.match(stderr, new RegExp(`lockstep: [^\\n]*${port}[^\\n]*in use`));
  }
  other.close();
});
