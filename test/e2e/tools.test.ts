/** Tools and reasoning as the official Node client sees them, from an engine that writes what a model would. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { FakeEngine, FakeTokenizer, fakeModel } from '../../src/api/fake-engine.js';
import { ModelMarkup } from '../../src/api/model-markup.js';
import { createServer, type HttpServer } from '../../src/api/server.js';
import { reasoningFormats } from '../../src/parsing/reasoning-format.js';
import { toolFormats } from '../../src/parsing/tool-format.js';

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools: OpenAI.ChatCompletionFunctionTool[] = [{ type: 'function', function: { name: 'get_weather', parameters } }];
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Weather in Oslo and Rome?' }];
const callOf = (city: string) => `<tool_call>\n{"name": "get_weather", "arguments": {"city": "${city}"}}\n</tool_call>`;
const calling = `<think>\nTwo cities.\n</think>\n\nI look.\n${callOf('Oslo')}\n${callOf('Rome')}`;
const answering = '3 and 20 degrees.';

let server: HttpServer;
let client: OpenAI;

/** Calls, and once it has seen a result answers. */
const engine = new FakeEngine({
  nextId(request, _choice, position) {
    const hasResult = Buffer.from(request.promptTokens).includes('tool:3 degrees');
    return Buffer.from(hasResult ? answering : calling)[position] ?? 256;
  },
});

before(async () => {
  server = await createServer({ host: '127.0.0.1', port: 0 });
  const markup = new ModelMarkup(new FakeTokenizer(), {
    toolFormat: toolFormats.find(({ name }) => name === 'hermes')!,
    autoToolChoice: true,
    reasoningFormat: reasoningFormats[0]!,
  });
  server.setModel(fakeModel(engine, { markup }));
  client = new OpenAI({ baseURL: `http://127.0.0.1:${server.port}/v1`, apiKey: 'none', maxRetries: 0 });
});
after(() => server.close());

describe('the client', () => {
  test('gets calls, content and reasoning apart', async () => {
    const { choices, usage } = await client.chat.completions.create({ model: 'fake', messages, tools });
    const { message, finish_reason } = choices[0]!;
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.content, 'I look.\n');
    assert.equal((message as { reasoning?: string }).reasoning, 'Two cities.');
    const calls = message.tool_calls as OpenAI.ChatCompletionMessageFunctionToolCall[];
    assert.deepEqual(
      calls.map((call) => JSON.parse(call.function.arguments)),
      [{ city: 'Oslo' }, { city: 'Rome' }],
    );
    assert.ok(usage!.completion_tokens_details!.reasoning_tokens! > 0);
  });

  test('puts a stream together to the same', async () => {
    const whole = await client.chat.completions.create({ model: 'fake', messages, tools });
    const seen: string[] = [];
    const stream = client.chat.completions.stream({ model: 'fake', messages, tools });
    stream.on('tool_calls.function.arguments.done', ({ name, arguments: args }) => seen.push(`${name} ${args}`));
    const streamed = await stream.finalChatCompletion();
    assert.deepEqual(seen, ['get_weather {"city": "Oslo"}', 'get_weather {"city": "Rome"}']);
    const plain = ({ content, tool_calls: calls }: OpenAI.ChatCompletionMessage) => ({
      content,
      calls: calls?.map((call) => (call.type === 'function' ? [call.type, call.function.name, call.function.arguments] : [])),
    });
    assert.deepEqual(plain(streamed.choices[0]!.message), plain(whole.choices[0]!.message));
    assert.equal(streamed.choices[0]!.finish_reason, 'tool_calls');
  });

  test('runs the functions and brings their results', async () => {
    const cities: string[] = [];
    const getWeather = {
      name: 'get_weather',
      parameters,
      description: 'The weather in a city.',
      parse: (args: string) => JSON.parse(args) as { city: string },
      function: ({ city }: { city: string }) => {
        cities.push(city);
        return `${city === 'Oslo' ? 3 : 20} degrees`;
      },
    };
    const runner = client.chat.completions.runTools({
      model: 'fake',
      messages: [...messages],
      stream: true,
      tools: [{ type: 'function', function: getWeather }],
    });
    assert.equal(await runner.finalContent(), answering);
    assert.deepEqual(cities, ['Oslo', 'Rome']);
  });
});
