import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatAnswer, completionAnswer, modelsAnswer, tokenizeAnswer } from './answers.js';
import { openAiErrors } from './error-body.js';
import { FakeEngine, fakeModel } from './fake-engine.js';
import { findFault, type Schema } from './schema.js';
import { createServer } from './server.js';

const messages = [{ role: 'user', content: 'hi' }];
const everything = { max_tokens: 3, n: 2, temperature: 1, return_token_ids: true };

/** [path, body, the schema of a whole answer, that of an event] */
const cases: readonly (readonly [string, object | null, Schema, (Schema | undefined)?])[] = [
  [
    '/v1/chat/completions',
    { messages, ...everything, logprobs: true, top_logprobs: 2, return_prompt_text: true },
    chatAnswer.json!,
    chatAnswer.events,
  ],
  ['/v1/chat/completions', { messages, max_tokens: 3 }, chatAnswer.json!, chatAnswer.events],
  ['/v1/completions', { prompt: ['a', 'b'], ...everything, logprobs: 2, echo: true }, completionAnswer.json!, completionAnswer.events],
  ['/v1/completions', { prompt: 'a', prompt_logprobs: 0 }, completionAnswer.json!, completionAnswer.events],
  ['/v1/completions', { prompt: '' }, openAiErrors.schema],
  ['/tokenize', { prompt: 'a', return_token_strs: true }, tokenizeAnswer.json!],
  ['/v1/models', null, modelsAnswer.json!],
];

test('answers are as their schemas say, whole and streamed', async () => {
  const server = await createServer({ host: '127.0.0.1', port: 0 });
  server.setModel(fakeModel(new FakeEngine()));
  const send = async (path: string, body: object | null) => {
    const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return (await fetch(`http://127.0.0.1:${server.port}${path}`, body === null ? {} : post)).text();
  };
  for (const [path, body, whole, event] of cases) {
    assert.equal(findFault(whole, JSON.parse(await send(path, body))), null, path);
    if (event === undefined) continue;
    const options = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
    const events = (await send(path, { ...body, ...options })).split('\n\n').filter((line) => line.startsWith('data: {'));
    assert.ok(events.length > 2);
    for (const line of events) assert.equal(findFault(event, JSON.parse(line.slice('data: '.length))), null, line);
  }
  await server.close();
});
