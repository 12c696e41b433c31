import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endingDifferences } from './endings.js';
import { chatAnswer, chatChunk, errorAnswer, modelsAnswer } from './openai-answers.js';
import { differencesFrom, documentedDifferences } from './shape.js';
import { documentedStreamDifferences, streamDifferencesFrom } from './streams.js';

const answer = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, finish_reason: 'stop', logprobs: null, message: { role: 'assistant', content: 'x', refusal: null } }],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
};
const withChoice = (changes: object) => ({
  ...answer,
  choices: [
    { ...answer.choices[0], ...changes },
    { ...answer.choices[0], ...changes },
  ],
});
const told = (value: unknown) => documentedDifferences(chatAnswer, value).map(({ path, what }) => `${path}: ${what}`);

test('an answer as documented has no differences, whatever it has besides', () => {
  assert.deepEqual(told({ ...answer, more: null }), []);
  assert.deepEqual(documentedDifferences(modelsAnswer, { object: 'list', data: [] }), []);
});

test('each difference is told once, with its place', () => {
  const { id: _, ...withoutId } = answer;
  assert.deepEqual(told(withoutId), ['id: missing, where a string is documented']);
  assert.deepEqual(told({ ...answer, created: '1' }), ['created: "1", where an integer is documented']);
  assert.deepEqual(told({ ...answer, usage: null }), ['usage: null, where an object is documented']);
  assert.match(told(withChoice({ finish_reason: 'abort' }))[0]!, /^choices\[\]\.finish_reason: "abort", where "stop" or "length"/);
  const message = { role: 'assistant', content: 5, refusal: null, annotations: null };
  assert.deepEqual(told(withChoice({ message })), [
    'choices[].message.content: an integer, where a string or null is documented',
    'choices[].message.annotations: null, where a list is documented',
  ]);
  assert.deepEqual(
    documentedDifferences(errorAnswer, { error: { message: 'x', type: 'y', param: null, code: 400 } }).map(({ path }) => path),
    ['error.code'],
  );
  assert.deepEqual(told('text'), [': "text", where an object is documented']);
});

test('another answer lacks what the first has; what depends on the text is passed over', () => {
  const tell = (value: unknown) => differencesFrom(answer, value).map(({ path, what }) => `${path}: ${what}`);
  assert.deepEqual(tell({ ...answer, id: 'other', more: 1 }), []);
  assert.deepEqual(tell(withChoice({ message: { role: 'assistant', content: null } })), []);
  assert.deepEqual(tell({ ...answer, usage: { prompt_tokens: '1', completion_tokens: 2 } }), [
    'usage.prompt_tokens: a string, where an integer is',
    'usage.total_tokens: missing, where an integer is',
  ]);
  assert.deepEqual(tell({ ...answer, choices: {} }), ['choices: an object, where a list is']);
});

const chunk = (delta: object, finish: string | null = null, more: object = {}) => ({
  data: {
    id: 'c',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index: 0, delta, finish_reason: finish }],
    ...more,
  },
});
const done = { data: '[DONE]' };
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
const stream = [chunk({ role: 'assistant', content: '' }), chunk({ content: 'x' }), chunk({}, 'stop'), done];
const rules = { chunk: chatChunk, asksUsage: false, hasRole: true };
const tellStream = (events: typeof stream, asksUsage = false) =>
  documentedStreamDifferences(events as never, { ...rules, asksUsage }).map(({ path, what }) => `${path}: ${what}`);

test('a stream as documented has no differences, with usage and without', () => {
  assert.deepEqual(tellStream(stream), []);
  const nulls = stream.slice(0, -1).map(({ data }) => ({ data: { ...(data as object), usage: null } }));
  const last = { data: { ...(chunk({}).data as object), choices: [], usage } };
  assert.deepEqual(tellStream([...nulls, last, done] as never, true), []);
});

test('what is missing, twice, out of order or another in a stream is told', () => {
  const [role, content, finish] = stream as [(typeof stream)[0], (typeof stream)[0], (typeof stream)[0]];
  assert.deepEqual(tellStream([role, content, finish]), ['[DONE]: missing, where it is the end']);
  assert.deepEqual(tellStream([role, content, done]), ['choices[].finish_reason: never given']);
  assert.deepEqual(tellStream([role, finish, content, done]), ['choices[].finish_reason: not in the last chunk of its choice']);
  assert.deepEqual(tellStream([role, finish, finish, done]), ['choices[].finish_reason: given more than once']);
  assert.deepEqual(tellStream([content, finish, done]), ['choices[].delta.role: missing from the first chunk of a choice']);
  assert.deepEqual(tellStream([role, { data: { ...(finish.data as object), id: 'other' } } as never, done]), [
    'id: not the same in all chunks',
  ]);
  assert.deepEqual(tellStream(stream, true), [
    'usage: missing from a last chunk that has no choices',
    'usage: missing before the last chunk, where null is documented',
  ]);
  assert.deepEqual(tellStream([role, { data: { ...(finish.data as object), usage } } as never, done]), [
    'usage: there, where it was not asked for',
  ]);
  assert.match(tellStream([role, { data: { error: { message: 'broken' } } } as never, done]).join(), /error: in the stream: .*broken/);
  assert.match(tellStream([role, { data: 'text' } as never, finish, done]).join(), /data: no JSON/);
});

test('two streams: how many pieces is no difference, what they are and in which order is', () => {
  const tell = (events: readonly object[]) => streamDifferencesFrom(stream, events as never).map(({ path, what }) => `${path}: ${what}`);
  const [role, content, finish] = stream;
  assert.deepEqual(tell([role!, content!, content!, content!, finish!, done]), []);
  assert.deepEqual(tell([role!, finish!]), ['order: role, finish, where role, finish, [DONE] is']);
  assert.deepEqual(tell([{ data: { ...(role!.data as object), model: null, id: 5 } }, finish!, done]), [
    'id: an integer, where a string is',
    'model: null, where a string is',
  ]);
});

test('calls end for the same reason, whatever they are', () => {
  const calling = (finish: string, calls: readonly unknown[] = [{}]) => ({
    status: 200,
    contentType: '',
    ms: 0,
    isWhole: true,
    body: { choices: [{ index: 0, finish_reason: finish, message: { tool_calls: calls } }] },
  });
  const tell = (reference: string, found: string, calls?: readonly unknown[]) =>
    endingDifferences(calling(reference), calling(found, calls)).map(({ what }) => what);
  assert.deepEqual(tell('tool_calls', 'stop'), ['stop after a call, where tool_calls is']);
  assert.deepEqual([tell('stop', 'stop'), tell('tool_calls', 'length'), tell('tool_calls', 'stop', [])], [[], [], []]);
  const { body: _, ...head } = calling('');
  const streamed = { ...head, events: [chunk({ tool_calls: [{ index: 0 }] }), chunk({}, 'stop'), done] };
  assert.equal(endingDifferences(calling('tool_calls'), streamed).length, 1);
});
