/**
 * Where blocks of the documentation run: a folder of its own in which `npm start`, `npx lockstep` and `lockstep` are this checkout's, servers
 * go to the background once they serve, ports are free ones, and models are stand-ins under the names that the documentation uses.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Block, lockstepCalls } from './blocks.js';

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const blockTimeoutMs = 120_000;

/** What the documentation calls a model -> what it is here. */
const folders = {
  'my-model': 'models/guide',
  'my-model-GPTQ': 'test/fixtures/tiny-models-quantised/gptq-int4-g32-desc_act',
  'my-embeddings': 'test/fixtures/tiny-encoders/bert-mean',
};
const hubModels = {
  'Qwen/Qwen2.5-0.5B-Instruct': 'models/guide',
  'Qwen/Qwen2.5-7B-Instruct': 'models/guide',
  'Qwen/Qwen3-0.6B': 'models/guide',
  'sentence-transformers/all-MiniLM-L6-v2': 'test/fixtures/tiny-encoders/bert-mean',
};
/** Of the repository, as they stand there. */
const links = ['models', 'deploy', 'docs', 'node_modules', 'dist', 'package.json'];

/** Puts a server into the background when it serves; one that had its port ends before. */
const serveShim = (main: string) => `#!/usr/bin/env bash
port=8000 words=()
while [ $# -gt 0 ]; do
  case $1 in --port) port=$2; shift ;; --port=*) port=\${1#*=} ;; *) words+=("$1") ;; esac
  shift
done
real=$(sed -n "s/^$port //p" "$WORKSHOP/ports")
old=$WORKSHOP/pid-$real
if [ -f "$old" ]; then kill "$(cat "$old")"; while kill -0 "$(cat "$old")" 2>/dev/null; do sleep 0.02; done; fi
log=$WORKSHOP/log-$real
node ${main} serve --host 127.0.0.1 --port "$real" "\${words[@]}" >"$log" 2>&1 </dev/null &
echo $! >"$old"
until [ "$(/usr/bin/curl -sk -o /dev/null -w '%{http_code}' "http://127.0.0.1:$real/health")" = 200 ]; do
  kill -0 $! 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.05
done
`;

const lockstepShim = (main: string) => `#!/usr/bin/env bash
real=$(sed -n 's/^8000 //p' "$WORKSHOP/ports")
case "$1 $2" in
  serve\\ *--help*) exec node ${main} "$@" ;;
  serve\\ *) shift; exec lockstep-serve "$@" ;;
  chat\\ *) [[ "$*" == *--url* ]] || set -- "$@" --url "http://127.0.0.1:$real/v1" ;;
  record\\ *) set -- "$@" --port "$(sed -n 's/^8080 //p' "$WORKSHOP/ports")" ;;
  'bench serve') [[ "$*" == *--base-url* ]] || set -- "$@" --base-url "http://127.0.0.1:$real" ;;
esac
exec node ${main} "$@"
`;

const npxShim = `#!/usr/bin/env bash
[ "$1" = lockstep ] || { echo "npx $1 is not known here" >&2; exit 1; }
shift
exec lockstep "$@"
`;

const npmShim = `#!/usr/bin/env bash
[ "$1" = start ] || { echo "npm $1 is not known here" >&2; exit 1; }
shift
[ "$1" != -- ] || shift
exec lockstep-serve "$@"
`;

/** A status of 400 and more is an error, and there is no progress. */
const curlShim = (curl: string) => `#!/usr/bin/env bash\nexec ${curl} --fail-with-body -sS "$@"\n`;

export class Workshop {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lockstep-docs-'));

  constructor() {
    const main = resolve('dist/src/cli/main.js');
    const bin = join(this.#folder, 'bin');
    mkdirSync(bin);
    const shims = {
      'lockstep-serve': serveShim(main),
      lockstep: lockstepShim(main),
      npx: npxShim,
      npm: npmShim,
      curl: curlShim('/usr/bin/curl'),
    };
    for (const [name, text] of Object.entries(shims)) writeFileSync(join(bin, name), text, { mode: 0o755 });
    for (const [name, path] of Object.entries(folders)) symlinkSync(resolve(path), join(this.#folder, name));
    for (const name of links) symlinkSync(resolve(name), join(this.#folder, name));
    for (const [name, path] of Object.entries(hubModels)) this.#addHubModel(name, resolve(path));
  }

  /** As a download leaves it. */
  #addHubModel(name: string, path: string): void {
    const folder = join(this.#folder, 'hub', `models--${name.replace('/', '--')}`);
    mkdirSync(join(folder, 'refs'), { recursive: true });
    mkdirSync(join(folder, 'snapshots'));
    writeFileSync(join(folder, 'refs', 'main'), 'a'.repeat(40));
    symlinkSync(path, join(folder, 'snapshots', 'a'.repeat(40)));
  }

  /** The bundled model serves where a block asks a server and starts none. */
  async run(block: Block): Promise<Result> {
    const asked = [...block.text.matchAll(/(?:localhost|127\.0\.0\.1):(\d+)|--port[ =](\d+)/g)].map(([, a, b]) => a ?? b!);
    const ports = new Map(await Promise.all([...new Set(['8000', ...asked])].map(async (port) => [port, await freePort()] as const)));
    writeFileSync(join(this.#folder, 'ports'), [...ports].map(([port, real]) => `${port} ${real}\n`).join(''));
    const text = block.text.replace(/(localhost|127\.0\.0\.1):(\d+)/g, (_, host: string, port: string) => `${host}:${ports.get(port)}`);
    const calls = lockstepCalls(block);
    const isAsked = asked.includes('8000') || calls.some(({ command }) => ['chat', 'bench serve'].includes(command));
    const script = [
      'set -euo pipefail',
      // The group of every server ends with the block.
      'trap \'for file in "$WORKSHOP"/pid-*; do [ ! -f "$file" ] || kill "$(cat "$file")" 2>/dev/null || true; rm -f "$file"; done\' EXIT',
      ...(isAsked && !calls.some(({ command }) => command === 'serve') ? ['lockstep-serve'] : []),
      this.#scriptOf(block, text),
    ];
    return this.#bash(script.join('\n'));
  }

  #scriptOf({ language }: Block, text: string): string {
    if (language === 'sh') return text;
    const name = language === 'js' ? 'block.mjs' : 'block.py';
    writeFileSync(join(this.#folder, name), text);
    return `${language === 'js' ? 'node' : 'python3'} ${name}`;
  }

  #bash(script: string): Promise<Result> {
    const env = {
      ...process.env,
      PATH: `${join(this.#folder, 'bin')}:${process.env['PATH']}`,
      WORKSHOP: this.#folder,
      HF_HUB_CACHE: join(this.#folder, 'hub'),
      HF_HUB_OFFLINE: '1',
      LOCKSTEP_CACHE: join(this.#folder, 'cache'),
    };
    return new Promise((done) => {
      const child = spawn('bash', ['-c', script], { cwd: this.#folder, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: blockTimeoutMs });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      child.on('close', (status) => done({ status, stdout, stderr }));
    });
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, maxRetries: 5 });
  }
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });
}
