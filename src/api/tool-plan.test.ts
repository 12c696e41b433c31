import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { GrammarSpec, SeparatedTags, TagSpec, TriggeredTags } from '../grammar/spec.js';
import { accepts, generate, Walker } from '../grammar/test-walker.js';
import { OutputParser } from '../parsing/output-parser.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import type { WrittenArguments } from '../parsing/tool-format.js';
import { toolFormats } from '../parsing/tool-formats.js';
import { afterReasoningOf, planTools } from './tool-plan.js';
import type { CallableFunction, ToolRequest } from './tools.js';

const schema = { type: 'object', properties: { city: { type: 'string' } } };
const weather: CallableFunction = { name: 'get_weather', schema, field: 'tools[0].function.parameters', strict: false };
const now: CallableFunction = {
  name: 'now',
  schema: { type: 'object', properties: {}, additionalProperties: false },
  field: 'tools[1].function.parameters',
  strict: false,
};
const formatOf = (name: string) => toolFormats.find((format) => format.name === name)!;

function request(choice: ToolRequest['choice'], changes: Partial<ToolRequest> = {}, functions = [weather, now]): ToolRequest {
  return {
    functions: new Map(functions.map((each) => [each.name, each])),
    choice,
    parallel: true,
    isRestricted: false,
    isLegacy: false,
    ...changes,
  };
}

const plan = (asked: ToolRequest, format = 'hermes', answer: GrammarSpec | null = null) =>
  planTools(asked, formatOf(format), answer, 'call_');

/** The calls of a grammar that forces them. */
function forcedTags(grammar: GrammarSpec | null): { open: GrammarSpec; run: SeparatedTags; close: GrammarSpec } {
  assert.ok(grammar?.kind === 'field' && grammar.name === 'tools' && grammar.grammar.kind === 'sequence');
  const [open, run, close] = grammar.grammar.elements;
  assert.ok(run?.kind === 'tags');
  return { open: open!, run, close: close! };
}

/** The grammar of text with calls in it. */
function freeTags(grammar: GrammarSpec | null): TriggeredTags {
  assert.ok(grammar?.kind === 'field' && grammar.grammar.kind === 'triggered_tags');
  return grammar.grammar;
}

describe('the grammar', () => {
  const weatherTag: TagSpec = {
    kind: 'tag',
    begin: '<tool_call>\n{"name": "get_weather", "arguments": ',
    content: { kind: 'field', name: weather.field, grammar: { kind: 'json_schema', schema, whitespace: 'none' } },
    end: '}\n</tool_call>',
  };

  test('required: calls and nothing else; one, where they may not be several', () => {
    const { open, run, close } = forcedTags(plan(request('required', {}, [weather])).grammar);
    assert.deepEqual(run, { kind: 'tags', tags: [weatherTag], separator: '\n', atLeastOne: true, stopAfterFirst: false });
    assert.deepEqual(
      [open, close],
      [
        { kind: 'literal', text: '' },
        { kind: 'literal', text: '' },
      ],
    );
    assert.ok(forcedTags(plan(request('required', { parallel: false })).grammar).run.stopAfterFirst);
  });

  test('auto: none, unless something must hold', () => {
    assert.equal(plan(request('auto')).grammar, null);
    const strict = freeTags(plan(request('auto', {}, [{ ...weather, strict: true }, now])).grammar);
    assert.deepEqual(strict, {
      kind: 'triggered_tags',
      triggers: ['<tool_call>'],
      tags: [
        weatherTag,
        { ...weatherTag, begin: '<tool_call>\n{"name": "now", "arguments": ', content: { kind: 'json_object', whitespace: 'none' } },
      ],
      atLeastOne: false,
      stopAfterFirst: false,
      excludes: [],
    });
    assert.equal(freeTags(plan(request('auto', { isRestricted: true })).grammar).kind, 'triggered_tags');
    const other = freeTags(plan(request('auto', { isRestricted: true }), 'qwen3_coder').grammar);
    assert.deepEqual([other.triggers, other.excludes], [['<tool_call>'], ['<function=']], 'no call begins in another way');
  });

  test('auto, with a form for the answer: that, or calls', () => {
    const answer: GrammarSpec = { kind: 'json_object' };
    const grammar = plan(request('auto'), 'hermes', answer).grammar;
    assert.ok(grammar?.kind === 'any_of' && grammar.elements[1] === answer);
    assert.equal(forcedTags(plan(request('required'), 'hermes', answer).grammar).run.kind, 'tags');
  });

  test('reasoning goes before it where it has begun, and may where it can', () => {
    const [format] = reasoningFormats;
    const grammar: GrammarSpec = { kind: 'json_object' };
    assert.equal(afterReasoningOf(format!, 'over', grammar), grammar);
    const begun = afterReasoningOf(format!, 'begun', grammar);
    assert.ok(begun.kind === 'sequence');
    assert.deepEqual(begun.elements[0], { kind: 'free_text', until: '</think>' });
    const possible = afterReasoningOf(format!, 'possible', grammar);
    assert.ok(possible.kind === 'any_of' && possible.elements[0]!.kind === 'sequence' && possible.elements[1] === grammar);
    assert.deepEqual(possible.elements[0]!.elements[0], { kind: 'literal', text: '<think>' });
  });
});

/** As a model would write these arguments in a format. */
function argumentsOf(form: WrittenArguments, city: string): string {
  switch (form.kind) {
    case 'json':
      return `{"city": "${city}", "near": null, "list": []}`;
    case 'python':
      return `city="${city}", near=None, list=[]`;
    case 'quoted':
      return `city:${form.quote}${city}${form.quote},near:null,list:[]`;
    case 'parameters': {
      const { begin, keyEnd, jsonKeyEnd = keyEnd, end } = form;
      return `${begin}city${keyEnd}${city}${end}${begin}near${jsonKeyEnd}null${end}${begin}list${jsonKeyEnd}[]${end}`;
    }
  }
}

describe('every format', () => {
  const parameters = {
    type: 'object',
    properties: {
      city: { type: 'string', maxLength: 12 },
      near: { type: ['string', 'null'], enum: [null, 'a } b', '</tool_call>'] },
      days: { type: 'integer', minimum: 0, maximum: 20 },
      list: { type: 'array', items: { type: 'object', properties: { x: { enum: ["it's", true, 1.5] } }, required: ['x'] }, maxItems: 2 },
    },
    required: ['city', 'near', 'list'],
  };
  const validate = new Ajv2020({ strict: false, allowUnionTypes: true }).compile(parameters);
  const functions = [{ ...weather, schema: parameters }, now];

  for (const { name, written, opens } of toolFormats) {
    test(`${name}: what its grammar forces are calls that are read and keep their schemas`, () => {
      const { reading, grammar } = plan(request('required', {}, functions), name);
      assert.equal(reading.format.name, name);
      const walker = new Walker(grammar!);
      let seed = 7;
      const choose = (count: number) => (seed = (Math.imul(seed, 48271) >>> 0) % 2147483647) % count;
      for (let i = 0; i < 20; i++) {
        const text = generate(walker, choose, 2000);
        if (text === null) continue;
        const parser = new OutputParser({ tools: reading, reasoning: null });
        const events = [...text.split('').flatMap((letter) => parser.push(letter)), ...parser.end()];
        assert.ok(
          events.every(({ type }) => type !== 'content'),
          text,
        );
        const calls = events.filter((event) => event.type === 'call');
        assert.ok(calls.length > 0, text);
        for (const [index, call] of calls.entries()) {
          const own = events.map((event) => (event.type === 'arguments' && event.index === index ? event.text : '')).join('');
          const args: unknown = JSON.parse(own);
          if (call.name === 'get_weather') assert.ok(validate(args), `${own} of ${text}: ${JSON.stringify(validate.errors)}`);
          else assert.deepEqual([call.name, args], ['now', {}]);
        }
      }
    });

    test(`${name}: whatever its grammar lets pass, what is read as a call keeps its schema`, () => {
      const { reading, grammar } = plan(request('auto', {}, [{ ...functions[0]!, strict: true }, now]), name);
      const walker = new Walker(grammar!);
      const { open, begin, nameEnd, end, separator, close } = written!;
      const call = (args: string) => `${begin}get_weather${nameEnd}${args}${end}`;
      const [good, bad] = ['Oslo', 'Oslo'.repeat(9)].map((city) => argumentsOf(written!.arguments, city)) as [string, string];
      const [one, wrong] = [open + call(good) + close, open + call(bad) + close];
      assert.ok(accepts(walker, `Let me see. ${one}`), one);
      assert.ok(!accepts(walker, wrong), wrong);
      // Odd spaces, and calls that follow a right one, each read where the grammar may not have looked.
      const spaced = Array.from({ length: wrong.length - close.length }, (_, i) => `${wrong.slice(0, i)} ${wrong.slice(i)}`);
      const later = [separator, ', ', '\n', '; ', ''].flatMap((between) => [
        one + between + call(bad),
        open + call(good) + between + call(bad),
      ]);
      for (const text of [one, ...spaced, ...later, ...later.map((run) => run + close)].filter((each) => accepts(walker, each))) {
        const parser = new OutputParser({ tools: reading, reasoning: null });
        const events = [...parser.push(text), ...parser.end()];
        const read = events.map((event) => (event.type === 'arguments' && event.index === 0 ? event.text : '')).join('');
        const numCalls = events.filter((event) => event.type === 'call').length;
        assert.ok(numCalls === 0 || (numCalls === 1 && validate(JSON.parse(read))), `${text}: ${read} of ${numCalls}`);
        if (text === one) assert.equal(numCalls, 1);
      }
    });

    test(`${name} begins a call with what triggers its grammar`, () => {
      const grammar = freeTags(plan(request('auto', { isRestricted: true }), name).grammar);
      assert.ok(grammar.tags.every(({ begin }) => grammar.triggers.some((trigger) => trigger !== '' && begin.startsWith(trigger))));
      if (opens.some((open) => (written!.open + written!.begin).startsWith(open))) assert.ok(opens.includes(grammar.triggers[0]!));
    });
  }

  test('a parameter whose name cannot stand there is written in the common form', () => {
    const odd = { ...weather, schema: { type: 'object', properties: { 'a b': { type: 'string' } } } };
    assert.equal(plan(request('required', {}, [odd]), 'qwen3_coder').reading.format.name, 'hermes');
    assert.equal(plan(request('auto', {}, [odd]), 'qwen3_coder').reading.format.name, 'qwen3_coder');
  });
});

test('ids of calls are as the format has them', () => {
  assert.match(plan(request('auto')).reading.newCallId(), /^call_[0-9a-f]{16}$/);
  assert.match(plan(request('auto'), 'mistral').reading.newCallId(), /^[a-zA-Z0-9]{9}$/);
});
