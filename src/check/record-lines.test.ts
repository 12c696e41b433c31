import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { LockstepError } from '../errors.js';
import type { Exchange } from './exchange.js';
import { RecordFile } from './record-file.js';
import { lineOf, readRecording } from './record-lines.js';
import { likeText } from './redact.js';
import { secretsOf, withoutSecrets } from './secrets.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-record-'));
after(() => rmSync(folder, { recursive: true }));

const exchange = (body: unknown, answer: unknown = {}): Exchange => ({
  time: '2026-01-01T00:00:00.000Z',
  method: 'POST',
  path: '/v1/chat/completions',
  headers: { 'content-type': 'application/json' },
  body,
  response: { status: 200, contentType: 'application/json', ms: 1, isWhole: true, body: answer },
});

describe('keys', () => {
  test('of headers, queries and cookies are known, and are nowhere in a line', () => {
    const headers = {
      authorization: 'Bearer sk-abcdef"1',
      'x-api-key': 'other-key-1',
      'content-type': 'x',
      cookie: 'a=session-1; b=session-2',
    };
    const path = '/v1/x?api-version=2&sig=a%2Fsecret&key=short-key';
    const secrets = secretsOf(headers, path);
    const said = ['sk-abcdef"1', 'other-key-1', 'session-1', 'session-2', 'a%2Fsecret', 'a/secret', 'short-key'];
    assert.deepEqual(new Set(secrets), new Set(said));
    const line = lineOf(
      exchange({ user: said.join(' '), stop: said }, { error: { message: `Incorrect API key: ${said[0]}` } }),
      secrets,
      false,
    );
    for (const secret of said) assert.ok(!line.includes(JSON.stringify(secret).slice(1, -1)), secret);
    assert.equal(withoutSecrets(path), '/v1/x?api-version=2');
    assert.equal(withoutSecrets('/v1/x?key=abc'), '/v1/x');
  });

  test('in a body are left out, but not the properties of a schema that are named so', () => {
    const schema = { type: 'object', properties: { password: { type: 'string' } } };
    const tools = [{ type: 'mcp', authorization: 'tok-1', headers: { 'X-API-Key': 'tok-2' } }, { function: { parameters: schema } }];
    const { body } = JSON.parse(lineOf(exchange({ api_key: 'tok-3', api_base: 'x', tools }), [], false)) as Exchange;
    assert.deepEqual(body, { api_base: 'x', tools: [{ type: 'mcp', headers: {} }, { function: { parameters: schema } }] });
  });
});

describe('texts', () => {
  const secretText = 'Zürich patient 4711';
  const redacted = (body: unknown, answer?: unknown) => JSON.parse(lineOf(exchange(body, answer), [], true)) as Exchange;

  test('are replaced by as many characters, and what a replay needs stays', () => {
    const schema = { type: 'object', description: secretText, properties: { city: { type: 'string', enum: ['Bern'] } } };
    const tool = { type: 'function', function: { name: 'get_weather', description: secretText, parameters: schema } };
    const call = {
      id: 'call_1',
      type: 'function',
      function: { name: 'get_weather', arguments: JSON.stringify({ city: secretText, name: secretText, zip: 4711 }) },
    };
    const picture = { type: 'image_url', image_url: { url: 'data:image/jpeg;base64,Q0FUUw' } };
    const body = {
      model: 'm',
      messages: [
        { role: 'user', name: 'Zürich', content: ` ${secretText}\n` },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: secretText }, picture] },
      ],
      prompt: [4711, 4712],
      stop: [secretText],
      tools: [tool],
      tool_choice: 'required',
      metadata: { customer: secretText, id: secretText },
      temperature: 0.5,
    };
    const logprobs = { tokens: [secretText], top_logprobs: [{ [secretText]: -1 }], content: [{ token: secretText, bytes: [47, 11] }] };
    const line = redacted(body, { choices: [{ finish_reason: 'stop', message: { content: secretText }, logprobs }] });
    const text = JSON.stringify(line);
    for (const word of ['Zürich', 'patient', '4711', '4712', '[47,11]', 'Q0FUUw']) assert.ok(!text.includes(word), word);
    const asked = line.body as typeof body;
    assert.equal(asked.messages[0]?.content?.length, secretText.length + 2);
    assert.match(String(asked.messages[0]?.content), /^ \S.*\S\n$/);
    assert.equal(asked.messages[1]?.tool_calls?.[0]?.function.name, 'get_weather');
    assert.equal(typeof JSON.parse(String(asked.messages[1]?.tool_calls?.[0]?.function.arguments)).city, 'string');
    assert.deepEqual(asked.tools[0]?.function.parameters.properties, schema.properties);
    assert.deepEqual([asked.model, asked.tool_choice, asked.temperature, asked.prompt.length], ['m', 'required', 0.5, 2]);
  });

  test('of a stream, whose pieces are no JSON', () => {
    const events = [
      { data: { choices: [{ index: 0, delta: { tool_calls: [{ function: { arguments: '{"city": "Zür' } }] } }] } },
      { data: '[DONE]' },
    ];
    const { body: _, ...response } = exchange(null).response!;
    const line = lineOf({ ...exchange({}), response: { ...response, events } }, [], true);
    assert.ok(!line.includes('Zür'));
    assert.ok(line.includes('"[DONE]"'));
  });

  test('likeText keeps length and outer spaces', () => {
    for (const text of ['', ' ', 'a', ' ab\n', 'x'.repeat(1000)]) {
      assert.equal(likeText(text).length, text.length);
      assert.equal(likeText(text).trim().length, text.trim().length);
    }
  });
});

describe('the file', () => {
  test('goes on where it ended; broken lines are counted and passed over', async () => {
    const path = join(folder, 'a.jsonl');
    writeFileSync(path, `${lineOf(exchange(1), [], false)}\n\nnonsense\n[1]\n{"method":"GET","path":"x","response":null}\n{"method":"PO`);
    const file = new RecordFile(path);
    file.append(lineOf(exchange({ second: true }), [], false));
    file.close();
    assert.ok(readFileSync(path, 'utf8').endsWith('}\n'));
    const { exchanges, numBroken } = await readRecording(path, 100);
    assert.deepEqual([exchanges.map(({ body }) => body), numBroken], [[1, { second: true }], 4]);
    assert.equal((await readRecording(path, 1)).exchanges.length, 1);
    appendFileSync(path, '{"cut');
    assert.equal((await readRecording(path, 100)).numBroken, 5);
  });

  test("is the user's alone; an empty one has nothing; where it cannot be, a word", async () => {
    const path = join(folder, 'b.jsonl');
    new RecordFile(path).close();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(await readRecording(path, 100), { exchanges: [], numBroken: 0 });
    const isStartError = (error: unknown) => error instanceof LockstepError && error.code === 'start';
    assert.throws(() => new RecordFile(folder), isStartError);
    assert.throws(() => new RecordFile('/dev/null'), isStartError);
    await assert.rejects(readRecording(join(folder, 'none.jsonl'), 1), isStartError);
  });
});
