import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { GrammarSpec, TagSpec } from '../grammar/spec.js';
import { OutputParser } from '../parsing/output-parser.js';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { toolFormats } from '../parsing/tool-format.js';
import { afterReasoningOf, planTools } from './tool-plan.js';
import type { CallableFunction, ToolRequest } from './tools.js';

const schema = { type: 'object', properties: { city: { type: 'string' } } };
const weather: CallableFunction = { name: 'get_weather', schema, strict: false };
const now: CallableFunction = { name: 'now', schema: { type: 'object' }, strict: false };
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

/** What a sequence of calls by these tags could be, with `args` as all their arguments. */
const written = (tags: readonly TagSpec[], separator: string, args: string) =>
  tags.map(({ begin, end }) => begin + args + end).join(separator);

describe('the grammar', () => {
  const weatherTag: TagSpec = {
    kind: 'tag',
    begin: '<tool_call>\n{"name": "get_weather", "arguments": ',
    content: { kind: 'json_schema', schema, whitespace: 'none' },
    end: '}\n</tool_call>',
  };

  test('required: calls and nothing else; one, where they may not be several', () => {
    const grammar = plan(request('required', {}, [weather])).grammar;
    assert.deepEqual(grammar, { kind: 'tags', tags: [weatherTag], separator: '\n', atLeastOne: true, stopAfterFirst: false });
    const single = plan(request('required', { parallel: false })).grammar;
    assert.ok(single?.kind === 'tags' && single.stopAfterFirst);
  });

  test('auto: none, unless something must hold', () => {
    assert.equal(plan(request('auto')).grammar, null);
    const strict = plan(request('auto', {}, [{ ...weather, strict: true }, now])).grammar;
    assert.deepEqual(strict, {
      kind: 'triggered_tags',
      triggers: ['<tool_call>'],
      tags: [
        weatherTag,
        { ...weatherTag, begin: '<tool_call>\n{"name": "now", "arguments": ', content: { kind: 'json_object', whitespace: 'none' } },
      ],
      atLeastOne: false,
      stopAfterFirst: false,
    });
    assert.equal(plan(request('auto', { isRestricted: true })).grammar?.kind, 'triggered_tags');
  });

  test('auto, with a form for the answer: that, or calls', () => {
    const answer: GrammarSpec = { kind: 'json_object' };
    const grammar = plan(request('auto'), 'hermes', answer).grammar;
    assert.ok(grammar?.kind === 'any_of' && grammar.elements[1] === answer);
    assert.equal(plan(request('required'), 'hermes', answer).grammar?.kind, 'tags');
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

describe('every format', () => {
  const args = '{"city": "a } b", "list": [{"x": "</tool_call>"}]}';
  for (const format of toolFormats) {
    test(`${format.name} reads forced calls`, () => {
      const { reading, grammar } = plan(request('required'), format.name);
      assert.ok(grammar?.kind === 'tags');
      const text = written(grammar.tags, grammar.separator, args);
      const parser = new OutputParser({ tools: reading, reasoning: null });
      const events = [...[...text].flatMap((letter) => parser.push(letter)), ...parser.end()];
      assert.deepEqual(
        events.flatMap((event) => (event.type === 'call' ? [event.name] : [])),
        ['get_weather', 'now'],
      );
      for (const index of [0, 1]) {
        const own = events.map((event) => (event.type === 'arguments' && event.index === index ? event.text : ''));
        assert.equal(own.join(''), args);
      }
      assert.ok(events.every(({ type }) => type !== 'content'));
    });

    test(`${format.name} begins a call with what triggers its grammar`, () => {
      const { grammar } = plan(request('auto', { isRestricted: true }), format.name);
      assert.ok(grammar?.kind === 'triggered_tags');
      assert.ok(grammar.tags.every(({ begin }) => begin.startsWith(grammar.triggers[0]!) && grammar.triggers[0] !== ''));
    });
  }
});

test('ids of calls are as the format has them', () => {
  assert.match(plan(request('auto')).reading.newCallId(), /^call_[0-9a-f]{16}$/);
  assert.match(plan(request('auto'), 'mistral').reading.newCallId(), /^[a-zA-Z0-9]{9}$/);
});
