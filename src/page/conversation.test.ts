import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  answerTurn,
  type Chunk,
  grow,
  newConversation,
  openCalls,
  requestOf,
  type Turn,
  titleOf,
  toolTurn,
  userTurn,
} from './conversation.js';
import { isConversation } from './storage.js';

const delta = (fields: object, finish_reason: string | null = null): Chunk => ({ choices: [{ delta: fields, finish_reason }] });
const grown = (chunks: readonly Chunk[]): Turn => chunks.reduce(grow, answerTurn);

test('an answer grows by text, reasoning, calls and tokens', () => {
  const turn = grown([
    delta({ role: 'assistant', content: '' }),
    delta({ reasoning: 'hm' }),
    delta({ content: 'Hel' }),
    {
      choices: [
        { delta: { content: 'lo' }, logprobs: { content: [{ token: 'lo', logprob: -0.5, top_logprobs: [{ token: 'p', logprob: -1 }] }] } },
      ],
    },
    delta({ tool_calls: [{ index: 0, id: 'c1', function: { name: 'f', arguments: '{"a"' } }] }),
    delta({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }, 'tool_calls'),
    { choices: [] },
  ]);
  assert.deepEqual([turn.content, turn.reasoning, turn.finish], ['Hello', 'hm', 'tool_calls']);
  assert.deepEqual(turn.toolCalls, [{ id: 'c1', name: 'f', args: '{"a":1}' }]);
  assert.deepEqual(turn.tokens, [{ text: 'lo', logprob: -0.5, alternatives: [{ text: 'p', logprob: -1 }] }]);
  assert.equal(grow(turn, { error: { message: 'gone' } }).error, 'gone');
});

test('a conversation is asked with what is set, and nothing else', () => {
  const conversation = {
    ...newConversation(null),
    system: 'Be short.',
    parameters: { temperature: '0', top_p: '' },
    turns: [userTurn('a'), { ...answerTurn, error: 'failed' }, userTurn('b')],
  };
  assert.deepEqual(requestOf(conversation, { name: 'm', maxLogprobs: 3 }), {
    model: 'm',
    messages: [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'a' },
      { role: 'user', content: 'b' },
    ],
    stream: true,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
  });
  assert.throws(() => requestOf({ ...conversation, tools: '[{' }, { name: 'm', maxLogprobs: 0 }), /not JSON/);
});

test('a call is open until its result is there', () => {
  const calls = [
    { id: 'c1', name: 'f', args: '{}' },
    { id: 'c2', name: 'g', args: '{}' },
  ];
  const turns = [userTurn('a'), { ...answerTurn, toolCalls: calls }];
  const conversation = { ...newConversation(null), turns };
  assert.deepEqual(openCalls(conversation), calls);
  const answered = { ...conversation, turns: [...turns, toolTurn('c1', '5')] };
  assert.deepEqual(openCalls(answered), [calls[1]]);
  assert.deepEqual(openCalls({ ...conversation, turns: [...turns, userTurn('never mind')] }), []);
  const { messages } = requestOf(answered, { name: 'm', maxLogprobs: 0 }) as { messages: object[] };
  assert.deepEqual(messages.slice(1), [
    {
      role: 'assistant',
      content: null,
      tool_calls: calls.map(({ id, name, args }) => ({ id, type: 'function', function: { name, arguments: args } })),
    },
    { role: 'tool', content: '5', tool_call_id: 'c1' },
  ]);
});

test('titles, and what the browser gives back that is no conversation', () => {
  const one = { ...newConversation(null), turns: [userTurn(` ${'word '.repeat(40)}`)] };
  assert.ok(titleOf(one).length <= 60 && titleOf(one).startsWith('word word'));
  assert.equal(isConversation(JSON.parse(JSON.stringify(one))), true);
  for (const bad of [null, 3, {}, { ...one, turns: [{ role: 'evil' }] }, { ...one, system: 5 }]) assert.equal(isConversation(bad), false);
});
