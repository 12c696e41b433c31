/** An application that uses the official client, its server, and between them `lockstep record`; then `lockstep check` of what was recorded. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { type CheckReport, check } from '../../src/check/check.js';
import type { Exchange } from '../../src/check/exchange.js';
import { readRecording } from '../../src/check/record-lines.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-check-'));
const started: ChildProcess[] = [];
const key = 'sk-of-the-application';
const program = [process.execPath, 'dist/src/cli/main.js'] as const;

/** Starts it and waits for the line of stderr that has its port; after that nobody reads its stderr. */
async function start(
  args: readonly string[],
  port: RegExp,
  words: readonly string[] = program,
): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(words[0]!, [...words.slice(1), ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  started.push(child);
  let log = '';
  for await (const chunk of child.stderr!) {
    log += chunk;
    const found = port.exec(log)?.[1];
    if (found === undefined) continue;
    return { child, url: `http://127.0.0.1:${found}` };
  }
  return assert.fail(`it ended: ${log}`);
}

const startRecorder = (out: string, flags: readonly string[] = [], words: readonly string[] = program) =>
  start(['record', '--upstream', server, '--port', '0', '--out', out, ...flags], /recording http:\/\/127\.0\.0\.1:(\d+)/, words);

async function lockstep(args: readonly string[]) {
  const child = spawn(program[0], [program[1], ...args], { env: { ...process.env, OPENAI_API_KEY: '' } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

let server: string;
const record = join(folder, 'app.jsonl');
before(async () => {
  const flags = ['--enable-auto-tool-choice', '--tool-call-parser', 'hermes', '--api-key', key];
  server = (await start(['serve', '--host', '127.0.0.1', '--port', '0', ...flags], /ready on port (\d+)/)).url;
});
after(() => {
  for (const child of started) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

const question = 'What is tensor parallelism?';
const messages = [{ role: 'user' as const, content: question }];
const weather = {
  type: 'function' as const,
  function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 8 } } } },
};
const clientOf = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });

/** What the application does, as the client says it. */
async function application(url: string): Promise<string> {
  const client = clientOf(url);
  const { id: model } = (await client.models.list()).data[0]!;
  const ask = (more: object) => client.chat.completions.create({ model, messages, max_tokens: 16, ...more });
  await ask({ temperature: 0.7, top_p: 0.9, seed: 5, stop: ['zzz'], logit_bias: { 120: -5 }, n: 2, logprobs: true, top_logprobs: 2 });
  await ask({ tools: [weather], tool_choice: 'required', max_tokens: 64 });
  await ask({ response_format: { type: 'json_object' }, user: 'me' });
  await assert.rejects(ask({ misspelt: 1 }), /Unrecognized request argument/);
  await client.completions.create({ model, prompt: 'Lockstep is', max_tokens: 8, echo: true, stream: false });
  let text = '';
  const stream = await client.chat.completions.create({
    model,
    messages,
    temperature: 0,
    max_tokens: 16,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
  return text;
}

test('the client sees the same through the recorder, and SIGTERM loses nothing', async () => {
  const { child, url } = await startRecorder(record);
  assert.equal(await application(url), await application(server));
  const client = clientOf(url);
  const exit = once(child, 'exit');
  let numChunks = 0;
  for await (const _ of await client.completions.create({
    model: 'guide',
    prompt: 'x',
    max_tokens: 40,
    stream: true,
    ...{ ignore_eos: true },
  })) {
    if (numChunks++ === 0) child.kill('SIGTERM');
  }
  assert.deepEqual([numChunks, await exit], [40, [0, null]]);
  const { exchanges, numBroken } = await readRecording(record, 100);
  assert.deepEqual([exchanges.length, numBroken], [8, 0]);
  assert.equal(exchanges.at(-1)?.response?.events?.length, 41, 'with [DONE]');
  assert.ok(exchanges.every(({ response }) => response?.isWhole));
  assert.ok(!readFileSync(record, 'utf8').includes(key));
});

const verdictsOf = ({ parameters }: Pick<CheckReport, 'parameters'>) => new Map(parameters.map(({ name, verdict }) => [name, verdict]));
const shown = [
  'temperature',
  'top_p',
  'seed',
  'stop',
  'logit_bias',
  'n',
  'top_logprobs',
  'tools',
  'tool_choice',
  'stream',
  'model',
  'messages',
  'max_tokens',
];

test('check: what is honoured, and where answers are not as OpenAI documents', async () => {
  const json = join(folder, 'report.json');
  writeFileSync(record, `${readFileSync(record, 'utf8')}{"broken`);
  const { status, stdout, stderr } = await lockstep(['check', record, '--url', `${server}/v1`, '--api-key', key, '--json', json]);
  assert.deepEqual([status, stderr], [1, ''], stdout);
  assert.match(stdout, /against OpenAI's documentation, by .*; 1 broken lines passed over\n8 requests sent again\n/);
  const report = JSON.parse(readFileSync(json, 'utf8')) as CheckReport;
  const verdicts = verdictsOf(report);
  for (const name of shown) assert.equal(verdicts.get(`chat.${name}`), 'honoured', `${name}\n${stdout}`);
  assert.equal(verdicts.get('completions.echo'), 'honoured');
  assert.equal(verdicts.get('chat.user'), 'cannot be told');
  assert.equal(verdicts.get('chat.misspelt'), 'refused');
  assert.equal(report.parameters.find(({ name }) => name === 'chat.misspelt')?.isDifference, false, 'it was refused before');
  const names = report.shapes.filter(({ isDifference }) => isDifference).map(({ name }) => name);
  assert.ok(names.includes('chat:stream.usage'));
  const accepted = await lockstep(['check', record, '--url', server, '--api-key', key, '--accept', names.join(',')]);
  assert.equal(accepted.status, 0, accepted.stdout);
});

test('check: the same server, and the record itself, are no differences', async () => {
  for (const against of [server, 'record']) {
    const flags = against === server ? ['--against-api-key', key] : [];
    const { status, stdout } = await lockstep(['check', record, '--url', server, '--api-key', key, '--against', against, ...flags]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /\nno differences\n$/);
  }
});

const lossyServers: Server[] = [];
after(() => {
  for (const lossy of lossyServers) lossy.close();
});

/** Stands before a server, drops these parameters and sets others. */
async function startLossy(upstream: string, dropped: readonly string[], set: Record<string, unknown>): Promise<URL> {
  const lossy = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = text === '' ? null : (JSON.parse(text) as Record<string, unknown>);
    const left = body && { ...Object.fromEntries(Object.entries(body).filter(([name]) => !dropped.includes(name))), ...set };
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
    const answer = await fetch(upstream + request.url, { method: request.method!, headers, ...(left && { body: JSON.stringify(left) }) });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type')! }).end(await answer.text());
  });
  lossyServers.push(lossy);
  lossy.listen(0, '127.0.0.1');
  await once(lossy, 'listening');
  return new URL(`http://127.0.0.1:${(lossy.address() as AddressInfo).port}`);
}

test('check: parameters that something between drops are ignored, and the others are honoured', async () => {
  const dropped = ['temperature', 'stop', 'n', 'logit_bias', 'top_logprobs', 'tools', 'tool_choice'];
  const base = await startLossy(server, dropped, { temperature: 0 }); // greedy, as the server would not be by itself
  const { exchanges } = await readRecording(record, 100);
  const target = { base, apiKey: null, model: null, timeoutMs: 30_000 };
  const report = await check({ exchanges, target, reference: 'the record', probes: true, accepted: [], onProgress: () => {} });
  const verdicts = verdictsOf(report);
  for (const name of dropped) assert.equal(verdicts.get(`chat.${name}`), 'ignored', name);
  for (const name of ['model', 'messages', 'max_tokens', 'stream', 'stream_options'])
    assert.equal(verdicts.get(`chat.${name}`), 'honoured', name);
  assert.equal(verdicts.get('chat.top_p'), 'cannot be told', 'nothing is drawn');
});

const exchangeOf = (path: string, body: object): Exchange => ({
  time: '2026-01-01T00:00:00.000Z',
  method: 'POST',
  path,
  headers: { 'content-type': 'application/json' },
  body,
  response: null,
});

/** The verdicts of a check against OpenAI's documentation. */
async function verdictsAt(base: URL, apiKey: string | null, exchanges: readonly Exchange[]) {
  const target = { base, apiKey, model: null, timeoutMs: 30_000 };
  const reference = "OpenAI's documentation" as const;
  return verdictsOf(await check({ exchanges, target, reference, probes: true, accepted: [], onProgress: () => {} }));
}

const schema = { type: 'object', properties: { a: { type: 'string', maxLength: 4 } }, required: ['a'], additionalProperties: false };
const { parameters } = weather.function;

test('check: responses and messages are probed in their own terms', async () => {
  const respond = (more: object) =>
    exchangeOf('/v1/responses', { model: 'guide', input: question, max_output_tokens: 32, store: false, ...more });
  const converse = (more: object) => exchangeOf('/v1/messages', { model: 'guide', messages, max_tokens: 16, ...more });
  const exchanges = [
    respond({ temperature: 0.7, top_p: 0.9, instructions: 'Answer in the words of a sailor.' }),
    respond({ stream: true }),
    respond({ text: { format: { type: 'json_schema', name: 'a', strict: true, schema } }, max_output_tokens: 64 }),
    respond({ tools: [{ type: 'function', name: 'get_weather', parameters }], tool_choice: 'required', max_output_tokens: 64 }),
    converse({ temperature: 0.7, top_k: 5, stop_sequences: ['zzz'], system: 'Answer in the words of a sailor.' }),
    converse({ stream: true }),
    converse({ tools: [{ name: 'get_weather', input_schema: parameters }], tool_choice: { type: 'any' }, max_tokens: 64 }),
  ];
  const seen = {
    responses: ['model', 'input', 'max_output_tokens', 'temperature', 'top_p', 'instructions', 'stream', 'text', 'tools', 'tool_choice'],
    messages: ['model', 'messages', 'max_tokens', 'temperature', 'top_k', 'stop_sequences', 'system', 'stream', 'tools', 'tool_choice'],
  };
  const found = await verdictsAt(new URL(server), key, exchanges);
  for (const [route, names] of Object.entries(seen))
    for (const name of names) assert.equal(found.get(`${route}.${name}`), 'honoured', `${route}.${name}`);
  assert.equal(found.get('responses.store'), 'cannot be told');

  const dropped = ['stop_sequences', 'text', 'tools', 'tool_choice', 'stream', 'instructions', 'system'];
  const lossy = await verdictsAt(await startLossy(server, dropped, {}), null, exchanges);
  for (const name of [
    'responses.text',
    'responses.stream',
    'responses.tools',
    'messages.stop_sequences',
    'messages.stream',
    'messages.tools',
    'responses.instructions',
    'messages.system',
  ])
    assert.equal(lossy.get(name), 'ignored', name);
});

test('check: embeddings are probed by their vectors', async () => {
  const overrides = JSON.stringify({ is_matryoshka: true });
  const model = 'test/fixtures/tiny-encoders/bert-mean';
  const flags = ['--host', '127.0.0.1', '--port', '0', '--hf-overrides', overrides, '--api-key', key];
  const { url } = await start(['serve', model, ...flags], /ready on port (\d+)/);
  const exchanges = [exchangeOf('/v1/embeddings', { model, input: 'a town', dimensions: 8, encoding_format: 'base64' })];
  const names = ['model', 'input', 'dimensions', 'encoding_format'].map((name) => `embeddings.${name}`);
  const found = await verdictsAt(new URL(url), key, exchanges);
  for (const name of names) assert.equal(found.get(name), 'honoured', name);
  const lossy = await verdictsAt(await startLossy(url, ['dimensions', 'encoding_format'], { input: 'always this' }), null, exchanges);
  for (const name of names.slice(1)) assert.equal(lossy.get(name), 'ignored', name);
});

test('a record without texts can be sent again', async () => {
  const path = join(folder, 'redacted.jsonl');
  const { child, url } = await startRecorder(path, ['--redact-text']);
  await application(url);
  child.kill('SIGINT');
  await once(child, 'exit');
  const text = readFileSync(path, 'utf8');
  for (const word of [question, 'parallel', 'Lockstep is', key]) assert.ok(!text.includes(word), word);
  const { status, stdout } = await lockstep(['check', path, '--url', server, '--api-key', key, '--against', 'record']);
  assert.equal(status, 0, stdout);
});

test('a full disk: the application goes on, and the file ends with a whole line', async () => {
  const path = join(folder, 'full.jsonl');
  const { child, url } = await startRecorder(path, [], ['bash', '-c', 'ulimit -f 4; exec "$@"', 'bash', ...program]);
  const ask = () => clientOf(url).completions.create({ model: 'guide', prompt: 'a'.repeat(1000), max_tokens: 1 });
  for (let i = 0; i < 5; i++) assert.equal((await ask()).choices.length, 1);
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [1, null]);
  const { exchanges, numBroken } = await readRecording(path, 100);
  assert.ok(exchanges.length > 0 && exchanges.length < 5 && readFileSync(path, 'utf8').endsWith('}\n'));
  assert.equal(numBroken, 0);
});

test('what cannot be done is said in one line, with exit status 2', async () => {
  const empty = join(folder, 'empty.jsonl');
  writeFileSync(empty, '\nnonsense\n');
  const gone = 'http://127.0.0.1:9';
  const cases: readonly [args: readonly string[], message: RegExp][] = [
    [['check'], /FILE is missing/],
    [['check', record], /--url URL is missing/],
    [['check', record, '--url', 'nowhere'], /--url must be a URL/],
    [['check', record, '--url', gone], /does not answer/],
    [['check', record, '--url', server], /refuses every request/],
    [['check', record, '--url', server, '--api-key', key, '--against', gone], /does not answer/],
    [['check', join(folder, 'none'), '--url', server], /none: ENOENT/],
    [['check', empty, '--url', server], /no request that can be sent again/],
    [['record'], /--upstream URL is missing/],
    [['record', '--upstream', 'ftp://x'], /http or https/],
    [['record', '--upstream', server, '--out', folder], /--out .*: EISDIR/],
    [['record', '--upstream', server, '--out', empty, '--port', new URL(server).port], /cannot listen/],
  ];
  for (const [args, message] of cases) {
    const { status, stderr, stdout } = await lockstep(args);
    assert.deepEqual([status, stdout, stderr.trimEnd().split('\n').length], [2, '', 1], args.join(' '));
    assert.match(stderr, message);
  }
});
