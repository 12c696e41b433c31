/**
 * The bundled model, through the real server and the official client: the questions of guide.questions.json, greedily. They are in other
 * words than any that it was trained on (scripts/train-guide/check.py sees to that).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';

interface Rule {
  readonly id: string;
  readonly question: string;
  readonly all: readonly string[];
  readonly any?: readonly string[];
  readonly none: readonly string[];
}

const startMsMax = 30_000;
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const { atLeast, questions } = JSON.parse(readFileSync(join(root, 'test', 'e2e', 'guide.questions.json'), 'utf8')) as {
  readonly atLeast: number;
  readonly questions: readonly Rule[];
};

let server: ChildProcess;
let stderr = '';
let client: OpenAI;
let model: string;

before(async () => {
  const port = await freePort();
  const args = [join(root, 'dist', 'src', 'cli', 'main.js'), 'serve', '--host', '127.0.0.1', '--port', String(port)];
  server = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  server.stderr?.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  await untilReady(`http://127.0.0.1:${port}/health`);
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
  model = (await client.models.list()).data[0]?.id ?? '';
});
after(() => server.kill('SIGTERM'));

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

async function untilReady(url: string): Promise<void> {
  const deadline = Date.now() + startMsMax;
  while (Date.now() < deadline) {
    assert.equal(server.exitCode, null, `the server ended: ${stderr}`);
    const status = await fetch(url).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    await sleep(50);
  }
  assert.fail(`not ready after ${startMsMax} ms: ${stderr}`);
}

async function ask(...messages: OpenAI.ChatCompletionMessageParam[]): Promise<string> {
  const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 160 });
  return answer.choices[0]?.message.content ?? '';
}

function isRight(rule: Rule, answer: string): boolean {
  const found = (pattern: string) => new RegExp(pattern, 'i').test(answer);
  return rule.all.every(found) && (rule.any === undefined || rule.any.some(found)) && !rule.none.some(found);
}

test(`at least ${atLeast} of ${questions.length} questions are answered rightly`, async (t) => {
  const answers = await Promise.all(questions.map(({ question }) => ask({ role: 'user', content: question })));
  const wrong = questions.flatMap((rule, i) => (isRight(rule, answers[i] ?? '') ? [] : [`${rule.id}: ${rule.question} -> ${answers[i]}`]));
  for (const line of wrong) t.diagnostic(line);
  assert.ok(questions.length - wrong.length >= atLeast, wrong.join('\n'));
});

test('a second question is answered on its own, whatever was said before', async () => {
  const first = await ask({ role: 'user', content: 'How do I start it?' });
  assert.match(first, /npm start/);
  const second = await ask(
    { role: 'user', content: 'How do I start it?' },
    { role: 'assistant', content: first },
    { role: 'user', content: 'And what is the KV cache?' },
  );
  assert.match(second, /KV cache/);
});

test('GET /engine tells of steps that were made, by phase and rank', async () => {
  await ask({ role: 'user', content: 'How do I start it?' });
  const { counters, phase_times_us, memory, ranks } = (await (await fetch(new URL('/engine', client.baseURL))).json()) as {
    readonly counters: { readonly steps: number };
    readonly phase_times_us: Readonly<Record<string, readonly number[]>>;
    readonly memory: Readonly<Record<string, number>>;
    readonly ranks: { readonly count: number; readonly cuts: readonly { readonly ranges: readonly unknown[] }[] };
  };
  const [total = 0] = phase_times_us['total']!;
  const parts = ['attention', 'linear', 'head', 'sample'].map((phase) => phase_times_us[phase]![0]!);
  assert.ok(counters.steps > 0 && total > 0);
  for (const part of parts) assert.ok(part > 0 && part < total, `${parts} of ${total}`);
  assert.ok(parts.reduce((sum, part) => sum + part, 0) <= total * 1.01);
  assert.ok(memory['resident_bytes']! > memory['weight_bytes']!);
  assert.ok(ranks.cuts.length > 0 && ranks.cuts.every(({ ranges }) => ranges.length === ranks.count));
});
