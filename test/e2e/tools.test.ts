/** Tools and reasoning as the official Node client sees them: from an engine that writes what a model would, and from the bundled model. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Ajv } from 'ajv';
import OpenAI from 'openai';
import { FakeEngine, FakeTokenizer, fakeModel } from '../../src/api/fake-engine.js';
import { ModelMarkup } from '../../src/api/model-markup.js';
import { createServer, type HttpServer } from '../../src/api/server.js';
import { createChatTemplate } from '../../src/chat/template.js';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { reasoningFormats } from '../../src/parsing/reasoning-format.js';
import { toolFormats } from '../../src/parsing/tool-formats.js';
import { packageRoot, start } from '../sameness/engine.js';

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

/** It knows nothing of tools: what it calls is nonsense, but it calls what it must, and its arguments fit. */
describe('the bundled model, forced', () => {
  const folder = join(packageRoot, 'models/guide');
  const functions = [
    {
      name: 'get_weather',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string', maxLength: 12 }, days: { type: 'integer', minimum: 1, maximum: 9 } },
        required: ['city', 'days'],
        additionalProperties: false,
      },
    },
    { name: 'get_time', parameters: { type: 'object', properties: { zone: { enum: ['utc', 'local'] } }, required: ['zone'] } },
  ];
  const given = functions.map((each) => ({ type: 'function' as const, function: each }));
  const question: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'What is Lockstep?' }];
  const ajv = new Ajv();
  let engine: OfflineEngine;
  let guide: HttpServer;
  let guideClient: OpenAI;

  before(async () => {
    engine = await start('--model', folder, '--cpu-threads', '1', '--max-num-seqs', '8');
    const { client: inner, tokenizer, maxModelLen } = engine;
    const config = JSON.parse(readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'));
    guide = await createServer({ host: '127.0.0.1', port: 0 });
    guide.setModel({
      ...fakeModel(new FakeEngine()),
      ...{ engine: inner, tokenizer, maxModelLen, vocabSize: tokenizer.vocabSize },
      template: createChatTemplate(config.chat_template, tokenizer),
      markup: new ModelMarkup(tokenizer, { toolFormat: toolFormats.find(({ name }) => name === 'hermes')!, autoToolChoice: true }),
      defaults: { eosTokenIds: [tokenizer.eosTokenId!] },
    });
    guideClient = new OpenAI({ baseURL: `http://127.0.0.1:${guide.port}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  after(async () => {
    await guide?.close();
    await engine?.stop();
  });

  function checkCalls(calls: OpenAI.ChatCompletionMessageToolCall[] | undefined): string[] {
    return (calls ?? []).map((call) => {
      assert.ok(call.type === 'function');
      const { parameters: schema } = functions.find(({ name }) => name === call.function.name)!;
      assert.ok(ajv.validate(schema, JSON.parse(call.function.arguments)), call.function.arguments);
      return call.function.name;
    });
  }

  for (const [what, choice, expected, reason] of [
    ['required', 'required', null, 'tool_calls'],
    ['named', { type: 'function', function: { name: 'get_time' } }, ['get_time'], 'stop'],
    [
      'allowed',
      { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'get_time' } }] } },
      ['get_time'],
      'tool_calls',
    ],
  ] as const) {
    test(what, async () => {
      for (const temperature of [0, 1]) {
        const params = {
          model: 'fake',
          messages: question,
          tools: given,
          tool_choice: choice as never,
          temperature,
          seed: 5,
          max_tokens: 200,
        };
        const whole = await guideClient.chat.completions.create({ ...params, parallel_tool_calls: false });
        const [answer] = whole.choices;
        assert.equal(answer!.finish_reason, reason);
        assert.equal(answer!.message.content, '');
        const names = checkCalls(answer!.message.tool_calls);
        assert.equal(names.length, 1);
        if (expected !== null) assert.deepEqual(names, expected);
        const streamed = await guideClient.chat.completions.stream({ ...params, parallel_tool_calls: false }).finalChatCompletion();
        assert.deepEqual(
          streamed.choices[0]!.message.tool_calls!.map((call) => call.type === 'function' && call.function.arguments),
          answer!.message.tool_calls!.map((call) => call.type === 'function' && call.function.arguments),
        );
      }
    });
  }

  test('several at once, and free with strict functions', async () => {
    const params = { model: 'fake', messages: question, temperature: 1, max_tokens: 120, n: 4, seed: 3 };
    const required = await guideClient.chat.completions.create({ ...params, tools: given, tool_choice: 'required' });
    for (const { message, finish_reason } of required.choices) {
      if (finish_reason === 'tool_calls') assert.ok(checkCalls(message.tool_calls).length > 0);
    }
    const strict = given.map((each) => ({ ...each, function: { ...each.function, strict: true } }));
    const free = await guideClient.chat.completions.create({ ...params, tools: strict });
    for (const { message } of free.choices) assert.ok((message.content ?? '').length > 0 || checkCalls(message.tool_calls).length > 0);
  });
});
