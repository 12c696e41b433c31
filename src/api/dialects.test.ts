/** One answer with reasoning, text and a call, and the turn after it, through the official client of each API. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import { FakeTokenizer } from './fake-engine.js';
import { type FakeServer, fakeServer, type Json } from './fake-exchange.js';
import { ModelMarkup } from './model-markup.js';

const answers = [
  '<think>Weather, then.</think>Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
  'It rains.',
];
const schema = { type: 'object' as const, properties: { city: { type: 'string' } } };
let it: FakeServer;
let turn = 0;
let prompt = '';

before(async () => {
  const toolFormat = toolFormats.find(({ name }) => name === 'hermes')!;
  const markup = new ModelMarkup(new FakeTokenizer(), { toolFormat, autoToolChoice: true, reasoningFormat: reasoningFormats[0]! });
  // The template shows messages as they come to it.
  const template = { render: (messages: readonly unknown[]) => messages.map((message) => JSON.stringify(message)).join('\n') };
  it = await fakeServer(
    {},
    {
      nextId(request, _choice, position) {
        if (position === 0) prompt = Buffer.from(request.promptTokens).toString();
        return Buffer.from(answers[turn]!)[position] ?? 256;
      },
    },
    { markup, template },
  );
});
after(() => it.close());

/** The messages that the template was given last. */
const seen = (): Json[] => prompt.split('\n').map((line) => JSON.parse(line));
const call = { type: 'function', function: { name: 'get_weather', arguments: { city: 'Oslo' } } };

function checkSecondPrompt(): void {
  const [user, assistant, tool] = seen();
  assert.equal(user.content, 'How is the weather?');
  const [{ id, ...shown }] = assistant.tool_calls;
  assert.deepEqual(shown, call);
  assert.equal(assistant.reasoning_content, 'Weather, then.');
  assert.equal(tool.role, 'tool');
  assert.equal(tool.content, 'rain');
  if (tool.tool_call_id !== undefined) assert.equal(tool.tool_call_id, id);
}

test("/v1/messages, Anthropic's client", async () => {
  const client = new Anthropic({ baseURL: it.url, apiKey: 'none', maxRetries: 0 });
  const tools = [{ name: 'get_weather', input_schema: schema }];
  const question: Anthropic.MessageParam = { role: 'user', content: 'How is the weather?' };
  const common = { model: 'fake', max_tokens: 500, tools };
  turn = 0;
  const streamed = await client.messages.stream({ ...common, messages: [question] }).finalMessage();
  const first = await client.messages.create({ ...common, messages: [question] });
  const bare = (content: Json[]) => content.map(({ id: _id, ...rest }) => rest);
  assert.deepEqual(bare(first.content), bare(streamed.content));
  assert.deepEqual(bare(first.content), [
    { type: 'thinking', thinking: 'Weather, then.', signature: '' },
    { type: 'text', text: 'Let me see.\n' },
    { type: 'tool_use', name: 'get_weather', input: { city: 'Oslo' } },
  ]);
  assert.deepEqual([first.stop_reason, streamed.stop_reason], ['tool_use', 'tool_use']);
  const use = first.content.find((block) => block.type === 'tool_use')!;
  assert.match(use.id, /^toolu_/);
  turn = 1;
  const result: Anthropic.MessageParam = { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'rain' }] };
  const second = await client.messages.create({ ...common, messages: [question, { role: 'assistant', content: first.content }, result] });
  assert.deepEqual(second.content, [{ type: 'text', text: 'It rains.' }]);
  checkSecondPrompt();
});

test("/v1/responses, OpenAI's client, by previous_response_id and by items", async () => {
  const client = new OpenAI({ baseURL: `${it.url}/v1`, apiKey: 'none', maxRetries: 0 });
  const tools: OpenAI.Responses.FunctionTool[] = [{ type: 'function', name: 'get_weather', parameters: schema, strict: false }];
  const input = 'How is the weather?';
  turn = 0;
  const streamed = await client.responses.stream({ model: 'fake', input, tools }).finalResponse();
  const first = await client.responses.create({ model: 'fake', input, tools });
  const types = ['reasoning', 'message', 'function_call'];
  for (const { output } of [streamed, first]) {
    assert.deepEqual(
      output.map(({ type }) => type),
      types,
    );
  }
  assert.ok(first.usage!.output_tokens_details.reasoning_tokens > 0);
  const made = first.output.find((item) => item.type === 'function_call')!;
  assert.deepEqual([made.name, JSON.parse(made.arguments)], ['get_weather', { city: 'Oslo' }]);
  const output = { type: 'function_call_output' as const, call_id: made.call_id, output: 'rain' };
  turn = 1;
  const second = await client.responses.create({ model: 'fake', input: [output], previous_response_id: first.id, tools });
  assert.equal(second.output_text, 'It rains.');
  checkSecondPrompt();
  const items = [{ role: 'user' as const, content: input }, ...(first.output as OpenAI.Responses.ResponseInput), output];
  await client.responses.create({ model: 'fake', input: items, tools, store: false });
  checkSecondPrompt();
});

test("/api/chat, Ollama's client", async () => {
  const client = new Ollama({ host: it.url });
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters: schema } }];
  const question = { role: 'user', content: 'How is the weather?' };
  turn = 0;
  const first = await client.chat({ model: 'fake', messages: [question], tools, stream: false });
  assert.deepEqual([first.message.thinking, first.message.content], ['Weather, then.', 'Let me see.\n']);
  assert.deepEqual(first.message.tool_calls?.[0]?.function.arguments, { city: 'Oslo' });
  const pieces: Json[] = [];
  for await (const part of await client.chat({ model: 'fake', messages: [question], tools, stream: true })) pieces.push(part);
  assert.equal(pieces.map(({ message }) => message.content).join(''), 'Let me see.\n');
  assert.equal(pieces.flatMap(({ message }) => message.tool_calls ?? []).length, 1);
  turn = 1;
  const result = { role: 'tool', content: 'rain', tool_name: 'get_weather' };
  const second = await client.chat({ model: 'fake', messages: [question, first.message, result], tools, stream: false });
  assert.equal(second.message.content, 'It rains.');
  checkSecondPrompt();
  assert.deepEqual((await client.show({ model: 'fake' })).capabilities, ['completion', 'tools', 'thinking']);
});

test('a schema that cannot be kept is refused by the field that each API has it in', async () => {
  const bad = { type: 'object', properties: { a: { type: 'string', format: 'regex' } } };
  const messages = [{ role: 'user', content: 'Hi' }];
  const body = { model: 'fake', messages, max_tokens: 10 };
  const format = { type: 'json_schema', json_schema: { name: 'x', schema: bad } };
  const named = { type: 'function', function: { name: 'f' } };
  const tool = { type: 'function', function: { name: 'f', parameters: bad } };
  const requests: readonly (readonly [path: string, body: object, param: string])[] = [
    ['/v1/chat/completions', { ...body, response_format: format }, 'response_format'],
    ['/v1/chat/completions', { ...body, structured_outputs: { json: bad } }, 'structured_outputs.json'],
    ['/v1/chat/completions', { ...body, tools: [tool], tool_choice: named }, 'tools[0].function.parameters'],
    ['/v1/chat/completions', { ...body, functions: [tool.function], function_call: { name: 'f' } }, 'functions[0].parameters'],
    ['/v1/completions', { model: 'fake', prompt: 'Hi', guided_regex: '(?=a)' }, 'guided_regex'],
    ['/v1/responses', { model: 'fake', input: 'Hi', text: { format: { type: 'json_schema', name: 'x', schema: bad } } }, 'text.format'],
    [
      '/v1/responses',
      { model: 'fake', input: 'Hi', tools: [{ type: 'function', name: 'f', parameters: bad }], tool_choice: 'required' },
      'tools[0].parameters',
    ],
  ];
  for (const [path, request, param] of requests) {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(it.url + path, { method: 'POST', headers, body: JSON.stringify(request) });
    const { error } = (await response.json()) as Json;
    assert.deepEqual([response.status, error.param], [400, param], JSON.stringify(error));
  }
});
