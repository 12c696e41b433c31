/** Tools and reasoning over HTTP, with an engine that writes what a test says. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TokenBytes } from '../grammar/compiled.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import type { ThinkingBudget } from '../sampling/params.js';
import { FakeEngine, FakeTokenizer, fakeModel } from './fake-engine.js';
import { type MarkupOptions, ModelMarkup } from './model-markup.js';
import type { ServedModel } from './served-model.js';
import { createServer, type HttpServer } from './server.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
type Json = any;

const hermes = toolFormats.find(({ name }) => name === 'hermes')!;
const [qwen3] = reasoningFormats;
const weather = {
  type: 'function',
  function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};
const now = { type: 'function', function: { name: 'now' } };
const oneCall = 'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>';
const twoCalls = `${oneCall}\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>`;

let server: HttpServer;
const engine = new FakeEngine();
let seenPrompt = '';

/** The next answer of the engine: these bytes, then the end. */
function says(text: string): void {
  const bytes = Buffer.from(text);
  engine.options = {
    nextId(request, _choice, position) {
      seenPrompt = Buffer.from(request.promptTokens).toString();
      return bytes[position] ?? 256;
    },
  };
}

function serve(markup: MarkupOptions, changes: Partial<ServedModel> = {}): void {
  server.setModel(fakeModel(engine, { markup: new ModelMarkup(new FakeTokenizer(), markup), ...changes }));
}

const everything: MarkupOptions = { toolFormat: hermes, autoToolChoice: true, reasoningFormat: qwen3! };

async function ask(body: object): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${server.port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], ...body }),
  });
  return { status: response.status, text: await response.text() };
}

async function choiceOf(body: object): Promise<Json> {
  const { status, text } = await ask(body);
  assert.equal(status, 200, text);
  return JSON.parse(text).choices[0];
}

async function errorOf(body: object): Promise<Json> {
  const { status, text } = await ask(body);
  assert.equal(status, 400, text);
  return JSON.parse(text).error;
}

/** The choices of the chunks, but the first with the role. */
async function chunksOf(body: object): Promise<Json[]> {
  const { text } = await ask({ ...body, stream: true });
  const events = text.split('\n\n').filter((event) => event !== '' && event !== 'data: [DONE]');
  return events.map((event) => JSON.parse(event.slice('data: '.length)).choices[0]).slice(1);
}

before(async () => {
  server = await createServer({ host: '127.0.0.1', port: 0, backend: 'node' });
});
after(() => server.close());

describe('calls', () => {
  before(() => serve({ toolFormat: hermes, autoToolChoice: true }));

  test('a whole answer', async () => {
    says(twoCalls);
    const { message, finish_reason } = await choiceOf({ tools: [weather, now] });
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.content, 'Let me see.\n');
    assert.equal(message.function_call, null);
    const [first, second] = message.tool_calls;
    assert.match(first.id, /^chatcmpl-tool-[0-9a-f]{16}$/);
    assert.notEqual(first.id, second.id);
    assert.deepEqual(first.function, { name: 'get_weather', arguments: '{"city": "Oslo"}' });
    assert.deepEqual(second.function, { name: 'now', arguments: '{}' });
  });

  test('only calls: the content is null', async () => {
    says('<tool_call>{"name": "now"}</tool_call>');
    assert.equal((await choiceOf({ tools: [now] })).message.content, null);
  });

  test('streamed: id and name once, arguments in pieces, no markup', async () => {
    says(twoCalls);
    const chunks = await chunksOf({ tools: [weather, now] });
    const content = chunks.map(({ delta }) => delta.content ?? '').join('');
    assert.equal(content, 'Let me see.\n');
    const pieces = chunks.flatMap(({ delta }) => delta.tool_calls ?? []);
    for (const [index, [name, args]] of [
      ['get_weather', '{"city": "Oslo"}'],
      ['now', '{}'],
    ].entries()) {
      const own = pieces.filter((piece) => piece.index === index);
      assert.deepEqual(
        own.filter((piece) => 'id' in piece).map((piece) => [piece.type, piece.function.name]),
        [['function', name]],
      );
      assert.equal(own.map((piece) => piece.function.arguments ?? '').join(''), args);
    }
    assert.ok(pieces.length > 10, 'arguments come as they are written');
    assert.deepEqual(chunks.at(-1).delta, {});
    assert.equal(chunks.at(-1).finish_reason, 'tool_calls');
    assert.ok(
      chunks.slice(0, -1).every(({ delta }) => Object.keys(delta).length > 0),
      'no chunk without a word',
    );
  });

  test('cut off by length: the reason stays, the call is there as far as it came', async () => {
    says(oneCall);
    const { message, finish_reason } = await choiceOf({ tools: [weather], max_tokens: oneCall.indexOf('Oslo') });
    assert.equal(finish_reason, 'length');
    assert.equal(message.tool_calls[0].function.arguments, '{"city": "');
  });

  test('one call at most', async () => {
    says(twoCalls);
    assert.equal((await choiceOf({ tools: [weather, now], parallel_tool_calls: false })).message.tool_calls.length, 1);
  });

  test('an answer without calls', async () => {
    says('It is <b>warm</b>.');
    const { message, finish_reason } = await choiceOf({ tools: [weather] });
    assert.deepEqual([message.content, 'tool_calls' in message, finish_reason], ['It is <b>warm</b>.', false, 'stop']);
  });

  test('tool_choice none, and no tools at all: what looks like a call is text', async () => {
    says(oneCall);
    assert.equal((await choiceOf({ tools: [weather], tool_choice: 'none' })).message.content, oneCall);
    assert.equal((await choiceOf({})).message.content, oneCall);
    assert.equal((await choiceOf({ tool_choice: 'none' })).message.content, oneCall);
  });

  test('functions and function_call, as they were before tools', async () => {
    says(twoCalls);
    const { message, finish_reason } = await choiceOf({ functions: [weather.function, now.function] });
    assert.equal(finish_reason, 'function_call');
    assert.deepEqual(message.function_call, { name: 'get_weather', arguments: '{"city": "Oslo"}' });
    assert.equal('tool_calls' in message, false);
    const chunks = await chunksOf({ functions: [weather.function], function_call: 'auto' });
    const pieces = chunks.flatMap(({ delta }) => delta.function_call ?? []);
    assert.deepEqual(pieces.map((piece) => piece.name ?? '').join(''), 'get_weather');
    assert.deepEqual(pieces.map((piece) => piece.arguments ?? '').join(''), '{"city": "Oslo"}');
  });

  test('a stop string in a call ends it', async () => {
    says(oneCall);
    const { message, finish_reason, stop_reason } = await choiceOf({ tools: [weather], stop: 'Oslo' });
    assert.deepEqual([finish_reason, stop_reason, message.tool_calls[0].function.arguments], ['tool_calls', 'Oslo', '{"city": "']);
  });
});

describe('prompts', () => {
  const render: NonNullable<ServedModel['template']>['render'] = (messages, { tools, kwargs }) =>
    JSON.stringify({ messages, tools, kwargs });
  const preparation = { tokenizer: {} as never, chatTemplate: 'enable_thinking', cache: null };
  const prompt = async (body: object): Promise<Json> => {
    says('');
    await choiceOf({ max_tokens: 1, ...body });
    return JSON.parse(seenPrompt);
  };
  before(() => serve({ toolFormat: hermes, autoToolChoice: true }, { template: { render }, preparation }));

  test('tools as they were given, without what the model has no use for', async () => {
    const strict = { ...weather, function: { ...weather.function, strict: false } };
    assert.deepEqual((await prompt({ tools: [strict, now] })).tools, [weather, now]);
    assert.deepEqual((await prompt({ tools: [now], tool_choice: 'none' })).tools, [now]);
    assert.deepEqual((await prompt({ functions: [now.function] })).tools, [now]);
  });

  test('past calls have objects as arguments; older names become newer ones', async () => {
    const call = (args: unknown) => ({ id: 'a', type: 'function', function: { name: 'now', arguments: args } });
    const { messages } = await prompt({
      messages: [
        { role: 'assistant', content: null, tool_calls: [call('{"a": [1]}'), call(''), call('no JSON'), call('"text"')] },
        { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'x' }] },
        { role: 'assistant', content: null, function_call: { name: 'now', arguments: '{}' } },
        { role: 'function', name: 'now', content: '12:00' },
        { role: 'assistant', content: 'So.', reasoning_content: 'Hm.' },
      ],
    });
    assert.deepEqual(
      messages[0].tool_calls.map((each: Json) => each.function.arguments),
      [{ a: [1] }, {}, 'no JSON', '"text"'],
    );
    assert.deepEqual(messages[2].tool_calls, [{ type: 'function', function: { name: 'now', arguments: {} } }]);
    assert.equal('function_call' in messages[2], false);
    assert.deepEqual(messages[3], { role: 'tool', name: 'now', content: '12:00' });
    assert.deepEqual([messages[4].reasoning, messages[4].reasoning_content], ['Hm.', 'Hm.']);
  });

  test('reasoning_effort is told to the template; its own variables win', async () => {
    assert.deepEqual((await prompt({ reasoning_effort: 'low' })).kwargs, {
      reasoning_effort: 'low',
      enable_thinking: true,
      thinking: true,
    });
    const kwargs = { enable_thinking: true };
    assert.equal((await prompt({ reasoning_effort: 'none', chat_template_kwargs: kwargs })).kwargs.enable_thinking, true);
    assert.equal((await prompt({ reasoning_effort: 'none' })).kwargs.enable_thinking, false);
  });
});

describe('refusals', () => {
  const named = (name: string) => ({ type: 'function', function: { name } });

  test('in the words of vLLM', async () => {
    serve({ toolFormat: hermes });
    const auto = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set';
    assert.equal((await errorOf({ tools: [now] })).message, auto);
    assert.equal((await errorOf({ tools: [now], tool_choice: 'auto' })).message, auto);
    serve({});
    const cases: readonly (readonly [object, string, string | null])[] = [
      [
        { tools: [] },
        '`tools` must not be an empty array. Either provide at least one tool or omit the field entirely. (parameter=tools)',
        'tools',
      ],
      [{ tool_choice: 'required' }, 'When using `tool_choice`, `tools` must be set. (parameter=tool_choice)', 'tool_choice'],
      [{ tools: [now], tool_choice: 'required' }, 'tool_choice="required" requires --tool-call-parser to be set', null],
      [{ tools: [now], tool_choice: named('now') }, 'tool_choice=function "now" requires --tool-call-parser to be set', null],
      [
        { tools: [now], tool_choice: named('nope') },
        'The tool specified in `tool_choice` does not match any of the specified `tools` (parameter=tool_choice)',
        'tool_choice',
      ],
    ];
    for (const [body, message, param] of cases) {
      const error = await errorOf(body);
      assert.deepEqual([error.message, error.param, error.type], [message, param, 'BadRequestError']);
    }
  });

  test('of what has no meaning', async () => {
    serve(everything);
    const cases: readonly (readonly [object, string])[] = [
      [{ tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'body.tools.0.function'],
      [{ tools: [{ type: 'function', function: { name: 7 } }] }, 'body.tools.0.function.name'],
      [{ tools: [now], tool_choice: 'sometimes' }, 'body.tool_choice'],
      [{ tools: [{ type: 'function', function: { name: 'a "b"' } }] }, 'tools'],
      [{ tools: [now], functions: [now.function] }, 'functions'],
      [{ reasoning_effort: 'high' }, 'reasoning_effort'],
      [{ include_reasoning: false, logprobs: true }, 'include_reasoning'],
    ];
    for (const [body, param] of cases) assert.equal((await errorOf(body)).param, param, JSON.stringify(body));
  });
});

test('--tool-strict-level parameter: calls are held to their schema though no request says strict', async () => {
  let grammar: unknown;
  engine.options = {
    nextId(request) {
      grammar = request.grammar;
      return 256;
    },
  };
  for (const strictTools of [false, true]) {
    serve({ toolFormat: hermes, autoToolChoice: true, strictTools });
    await choiceOf({ tools: [weather] });
    assert.equal(grammar !== undefined, strictTools);
  }
});

test('a budget of reasoning goes to the engine with where reasoning begins and ends', async () => {
  let thinking: unknown;
  let vocabulary: TokenBytes | undefined;
  engine.options = {
    nextId(request) {
      thinking = request.sampling.thinking;
      vocabulary = request.vocabulary;
      return 256;
    },
  };
  const prompts = ['assistant:', 'assistant:<think>\n', 'assistant:<think>\n\n</think>\n\n'];
  const seen = [];
  for (const prompt of prompts) {
    serve(
      { reasoningFormat: { name: 'eos', begin: '<bos>', end: '<eos>', always: false } },
      { template: { render: () => prompt.replaceAll('think', 'bos').replace('/bos', 'eos') } },
    );
    await choiceOf({ thinking_token_budget: 5 });
    seen.push(thinking);
  }
  const end = { end: 256, forced: [256] };
  assert.deepEqual(seen, [{ budget: 5, begin: 257, ...end }, { budget: 5, begin: null, ...end }, null]);
  // Markers of several tokens are known by their text.
  serve(everything);
  await choiceOf({ thinking_token_budget: 5 });
  const markers = { budget: 5, begin: Buffer.from('<think>'), end: Buffer.from('</think>') };
  assert.deepEqual(thinking, { ...markers, forced: [...Buffer.from('</think>')] });
  assert.equal(vocabulary?.ends.length, 258);
  const phrase = 'Enough.</think>\n\n';
  serve({ ...everything, forcedReasoningEnd: phrase });
  await choiceOf({ thinking_token_budget: 5 });
  assert.deepEqual(thinking, { ...markers, forced: [...Buffer.from(phrase)] });
  serve({});
  assert.match((await errorOf({ thinking_token_budget: 5 })).message, /requires --reasoning-parser/);
  assert.equal((await choiceOf({ thinking_token_budget: -1 })).finish_reason, 'stop');
});

test('so do budgets of the other routes that reason', async () => {
  let thinking: ThinkingBudget | null = null;
  engine.options = {
    nextId(request) {
      thinking = request.sampling.thinking;
      return 256;
    },
  };
  const budgetOf = async (path: string, body: object) => {
    thinking = null;
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
    assert.equal(response.status, 200, await response.text());
    return (thinking as ThinkingBudget | null)?.budget ?? null;
  };
  const messages = [{ role: 'user', content: 'hi' }];
  const anthropic = { messages, max_tokens: 9, thinking: { type: 'enabled', budget_tokens: 6 } };
  serve(everything);
  assert.equal(await budgetOf('/v1/completions', { prompt: 'a<think>', thinking_token_budget: 5 }), 5);
  assert.equal(await budgetOf('/v1/completions', { prompt: 'a<think>b</think>', thinking_token_budget: 5 }), null);
  assert.equal(await budgetOf('/v1/responses', { input: 'hi', thinking_token_budget: 5 }), 5);
  assert.equal(await budgetOf('/v1/messages', anthropic), 6);
  assert.equal(await budgetOf('/api/chat', { model: 'fake', messages, think: true, thinking_token_budget: 7 }), 7);
  assert.equal(await budgetOf('/api/generate', { model: 'fake', prompt: 'a<think>', raw: true, thinking_token_budget: 7 }), 7);
  serve({});
  assert.equal(await budgetOf('/v1/messages', anthropic), null, 'what does not reason stays within every budget');
});

describe('reasoning', () => {
  const text = '<think>\nHm, hm.\n</think>\n\nWarm.';
  before(() => serve(everything));

  test('whole, under both names, and counted', async () => {
    says(text);
    const { text: answer } = await ask({});
    const { choices, usage } = JSON.parse(answer);
    const { content, reasoning, reasoning_content } = choices[0].message;
    assert.deepEqual([content, reasoning, reasoning_content], ['Warm.', 'Hm, hm.', 'Hm, hm.']);
    assert.deepEqual(usage.completion_tokens_details, { reasoning_tokens: text.indexOf('</think>') + '</think>'.length - '<think'.length });
  });

  test('streamed', async () => {
    says(text);
    const chunks = await chunksOf({});
    const joined = (name: string) => chunks.map(({ delta }) => delta[name] ?? '').join('');
    assert.deepEqual([joined('content'), joined('reasoning'), joined('reasoning_content')], ['Warm.', 'Hm, hm.', 'Hm, hm.']);
  });

  test('not shown, but counted', async () => {
    says(text);
    const { text: answer } = await ask({ include_reasoning: false });
    const { choices, usage } = JSON.parse(answer);
    assert.deepEqual([choices[0].message.content, choices[0].message.reasoning], ['Warm.', null]);
    assert.ok(usage.completion_tokens_details.reasoning_tokens > 0);
    const chunks = await chunksOf({ include_reasoning: false, stream_options: { include_usage: true } });
    assert.equal(
      chunks
        .filter((chunk) => chunk !== undefined)
        .map(({ delta }) => delta.content ?? '')
        .join(''),
      'Warm.',
    );
  });

  test('before a call', async () => {
    says(`${text.slice(0, -5)}${oneCall.slice(oneCall.indexOf('<'))}`);
    const { message, finish_reason } = await choiceOf({ tools: [weather] });
    assert.deepEqual([message.reasoning, message.content, message.tool_calls.length, finish_reason], ['Hm, hm.', null, 1, 'tool_calls']);
  });
});
