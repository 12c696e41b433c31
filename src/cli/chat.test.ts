import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { LockstepError } from '../errors.js';
import { chat } from './chat.js';
import { loadOptions } from './load-options.js';
import { chatCommand } from './options.js';

/** Answers with the number of messages and the last one, in two pieces; refuses "bad"; never ends after "long". */
let server: Server;
let url: string;
let bodies: { model: string; messages: { role: string; content: string }[] }[];
let closed: Promise<void>;

beforeEach(async () => {
  bodies = [];
  let markClosed = () => {};
  closed = new Promise((resolve) => {
    markClosed = resolve;
  });
  server = createServer(async (request, response) => {
    if (request.url === '/v1/models') return response.end(JSON.stringify({ data: [{ id: 'first' }, { id: 'second' }] }));
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text) as (typeof bodies)[number];
    bodies.push(body);
    const last = body.messages.at(-1)?.content;
    if (last === 'bad') return response.writeHead(400).end(JSON.stringify({ error: { message: 'refused for a reason' } }));
    const event = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
    response.write(event(`${body.messages.length}:`));
    if (last === 'long') return void response.on('close', markClosed);
    response.write(event(`${last}`));
    response.end('data: [DONE]\n\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function talk(lines: string[], argv: string[] = []): Promise<string> {
  const input = new PassThrough();
  const output = new PassThrough();
  input.end(`${lines.join('\n')}\n`);
  await chat(loadOptions(chatCommand, ['--url', url, ...argv], {}), { input, output });
  return String(output.read() ?? '');
}

describe('chat', () => {
  test('keeps the conversation', async () => {
    assert.equal(await talk(['one', '', 'two']), '1:one\n3:two\n');
    assert.deepEqual(bodies[1]?.messages, [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: '1:one' },
      { role: 'user', content: 'two' },
    ]);
    assert.equal(bodies[0]?.model, 'first');
  });

  test('/new, /system, /exit and a command that is none', async () => {
    assert.equal(await talk(['one', '/new', 'two', '/exit', 'three']), '1:one\n1:two\n');
    assert.equal(await talk(['/system be brief', 'one', '/system', 'two'], ['--system', 'x', '--model', 'second']), '2:one\n1:two\n');
    assert.deepEqual(bodies[2]?.messages[0], { role: 'system', content: 'be brief' });
    assert.equal(bodies[2]?.model, 'second');
    assert.match(await talk(['/nonsense', '/help']), /no such command: \/nonsense[\s\S]*\/exit/);
  });

  test('a refusal is shown and forgotten', async () => {
    assert.equal(await talk(['bad', 'one']), 'error: refused for a reason\n1:one\n');
  });

  test('^C stops the answer, not the conversation', async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    input.end('long\none\n');
    const conversation = chat(loadOptions(chatCommand, ['--url', url], {}), { input, output });
    await once(output, 'readable');
    process.emit('SIGINT', 'SIGINT');
    await conversation;
    assert.equal(String(output.read()), '1:\n3:one\n');
    await closed;
  });

  test('no server: one line', async () => {
    await new Promise((resolve) => server.close(resolve));
    const options = loadOptions(chatCommand, ['--url', url], {});
    const failed = chat(options, { input: new PassThrough(), output: new PassThrough() });
    await assert.rejects(
      failed,
      (error) => error instanceof LockstepError && /ECONNREFUSED.*is a server running there/.test(error.message),
    );
  });
});
