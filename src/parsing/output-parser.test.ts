import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fc } from '../../test/property.js';
import type { ParsedEvent } from './event-list.js';
import { callHeadLenMax } from './object-call.js';
import { OutputParser, type ParserOptions } from './output-parser.js';
import { reasoningFormatOf, reasoningFormats, reasoningStart } from './reasoning-format.js';
import { typesFrom } from './schema-types.js';
import { toolFormats } from './tool-formats.js';

interface Parsed {
  readonly reasoning: string;
  readonly content: string;
  readonly calls: readonly (readonly [name: string, args: string])[];
}

const schemas = new Map<string, unknown>([
  [
    'get_weather',
    { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' }, units: { type: ['string', 'null'] } } },
  ],
  [
    'add',
    {
      type: 'object',
      properties: { a: { type: 'number' }, terms: { type: 'array' }, deep: { $ref: '#/$defs/deep' } },
      $defs: { deep: { properties: {} } },
    },
  ],
  ['now', { type: 'object', properties: {} }],
]);

const formatOf = (name: string) => toolFormats.find((format) => format.name === name)!;

function options(
  format: string | null,
  more: { forced?: boolean; callsMax?: number; reasoning?: string; begun?: boolean } = {},
): ParserOptions {
  const { forced = false, callsMax = 1000, begun = false } = more;
  const reasoning = more.reasoning === undefined ? null : reasoningFormats.find(({ name }) => name === more.reasoning)!;
  return {
    tools:
      format === null
        ? null
        : {
            format: formatOf(format),
            isKnown: (name) => schemas.has(name),
            typesOf: typesFrom(schemas),
            isHeld: () => false,
            heads: null,
            forced,
            callsMax,
            newCallId: () => 'id',
          },
    reasoning: reasoning === null ? null : { format: reasoning, begun },
  };
}

/** All events of `pieces`; names must come once and before their arguments. */
function parse(pieces: readonly string[], given: ParserOptions): Parsed {
  const parser = new OutputParser(given);
  const events: ParsedEvent[] = pieces.flatMap((piece) => parser.push(piece));
  events.push(...parser.end());
  const result = { reasoning: '', content: '', calls: [] as [string, string][] };
  for (const event of events) {
    if (event.type === 'call') {
      assert.equal(event.index, result.calls.length);
      result.calls.push([event.name, '']);
    } else if (event.type === 'arguments') {
      assert.equal(event.index, result.calls.length - 1);
      result.calls[event.index]![1] += event.text;
    } else result[event.type] += event.text;
  }
  return result;
}

const calls = (...list: (readonly [string, string])[]): Parsed => ({ reasoning: '', content: '', calls: list });
const content = (text: string): Parsed => ({ reasoning: '', content: text, calls: [] });
const oslo = ['get_weather', '{"city": "Oslo"}'] as const;
const two = ['add', '{"a": 1, "terms": [2, {"b": "}"}]}'] as const;

/** Format, what it shows, text, what it must give. */
const table: readonly (readonly [format: string, what: string, text: string, expected: Parsed])[] = [
  ['hermes', 'a call', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>', calls(oslo)],
  [
    'hermes',
    'text, and two calls',
    `Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>\n<tool_call>{"name": "add", "arguments": ${two[1]}}</tool_call>\n`,
    { reasoning: '', content: 'Let me see.\n', calls: [oslo, two] },
  ],
  ['hermes', 'the arguments first', '<tool_call>{"arguments": {"city": "Oslo"}, "name": "get_weather"}</tool_call>', calls(oslo)],
  ['hermes', 'no arguments', '\n\n<tool_call>{"name": "now"}</tool_call>', calls(['now', '{}'])],
  [
    'hermes',
    'arguments as a string stay what they are',
    '<tool_call>{"name": "now", "arguments": "{}"}</tool_call>',
    calls(['now', '"{}"']),
  ],
  [
    'hermes',
    'a list in one run',
    `<tool_call>[{"name": "now", "arguments": {}}, {"name": "add", "arguments": ${two[1]}}]</tool_call>`,
    calls(['now', '{}'], two),
  ],
  ['hermes', 'a brace too many', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}}\n</tool_call>', calls(oslo)],
  ['hermes', 'a brace too few', '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}\n</tool_call>', calls(oslo)],
  [
    'hermes',
    'no closing marker',
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}} Done.',
    { reasoning: '', content: 'Done.', calls: [oslo] },
  ],
  [
    'hermes',
    'a marker inside of a string',
    '<tool_call>{"name": "get_weather", "arguments": {"city": "</tool_call>"}}</tool_call>',
    calls(['get_weather', '{"city": "</tool_call>"}']),
  ],
  ['hermes', 'text without a call', 'a < b, <tool and <tool_cal', content('a < b, <tool and <tool_cal')],
  ['hermes', 'no call behind the marker', 'Use <tool_call> now </tool_call>.', content('Use now .')],
  ['hermes', 'cut off before the name is known', 'So: <tool_call>{"name": "get_wea', content('So: ')],
  [
    'hermes',
    'cut off in the arguments',
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Os',
    calls(['get_weather', '{"city": "Os']),
  ],
  ['hermes', 'space at the start of plain text', '  \n x', content('  \n x')],
  ['hermes', 'nothing but space', '  \n', content('  \n')],
  ['mistral', 'a list', '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "abcdefghi"}]', calls(oslo)],
  [
    'mistral',
    'names outside',
    `[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]add[CALL_ID]c00000001[ARGS]${two[1]}`,
    calls(oslo, two),
  ],
  ['mistral', 'names outside, no marker behind', '[TOOL_CALLS]get_weather{"city": "Oslo"}', calls(oslo)],
  ['llama3_json', 'a call', '{"name": "get_weather", "parameters": {"city": "Oslo"}}', calls(oslo)],
  [
    'llama3_json',
    'two, marked',
    `<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}; {"name": "add", "parameters": ${two[1]}}`,
    calls(oslo, two),
  ],
  ['llama3_json', 'JSON that is no call', '{"name": "Bob", "age": 3}', content('{"name": "Bob", "age": 3}')],
  ['llama3_json', 'JSON later', 'See {"name": "get_weather", "parameters": {}}', content('See {"name": "get_weather", "parameters": {}}')],
  ['llama3_json', 'cut off', '{"name": "get_wea', content('{"name": "get_wea')],
  [
    'pythonic',
    'two calls',
    "[get_weather(city='Oslo', days=3), now()]",
    calls(['get_weather', '{"city": "Oslo", "days": 3}'], ['now', '{}']),
  ],
  ['pythonic', 'marked', '<|tool_call_start|>[now()]<|tool_call_end|>Wait.', { reasoning: '', content: 'Wait.', calls: [['now', '{}']] }],
  [
    'pythonic',
    'every kind of value',
    `[add(a=-1.5e3, terms=[True, None, ('x', "it's \\"so\\" \\u00e9\\n"), {'k': [], 2: False}], deep=1_000)]`,
    calls(['add', '{"a": -1.5e3, "terms": [true, null, ["x", "it\'s \\"so\\" é\\n"], {"k": [], "2": false}], "deep": 1000}']),
  ],
  ['pythonic', 'a bare word that objects have', '[add(a=constructor)]', calls(['add', '{"a": "constructor"}'])],
  ['pythonic', 'a list that is no call', '[1] see below', content('[1] see below')],
  ['pythonic', 'an unknown function', '[print(1)]', content('[print(1)]')],
  [
    'qwen3_coder',
    'values by type',
    '<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=units>\nnull\n</parameter>\n</function>\n</tool_call>',
    calls(['get_weather', '{"city": "Oslo", "days": 3, "units": null}']),
  ],
  [
    'qwen3_coder',
    'text of several lines, and quotes',
    '<function=get_weather>\n<parameter=city>\na "b"\n\n<c>\n</parameter>\n</function>',
    calls(['get_weather', '{"city": "a \\"b\\"\\n\\n<c>"}']),
  ],
  [
    'qwen3_coder',
    'lists, objects, no numbers',
    '<tool_call><function=add><parameter=a>one</parameter><parameter=terms>[1, "x"]</parameter><parameter=deep>{"k": 1}</parameter></function></tool_call>',
    calls(['add', '{"a": "one", "terms": [1, "x"], "deep": {"k": 1}}']),
  ],
  ['qwen3_coder', 'no parameters', '<tool_call>\n<function=now>\n</function>\n</tool_call>', calls(['now', '{}'])],
  [
    'qwen3_coder',
    'no end of the function',
    '<tool_call><function=get_weather><parameter=city>Oslo</parameter></tool_call>ok',
    { reasoning: '', content: 'ok', calls: [oslo] },
  ],
  ['qwen3_coder', 'no function behind the marker', 'x <function=', content('x ')],
  [
    'deepseek_v3',
    'two calls',
    `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n\`\`\`json\n{"city": "Oslo"}\n\`\`\`<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n\`\`\`json\n${two[1]}\n\`\`\`<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    calls(oslo, two),
  ],
  [
    'deepseek_v31',
    'two calls',
    `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Oslo"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>${two[1]}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    calls(oslo, two),
  ],
  [
    'deepseek_v32',
    'values that say whether they are text',
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">3</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name="now">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    calls(['get_weather', '{"city": "3", "days": 3}'], ['now', '{}']),
  ],
  [
    'gemma4',
    'bare keys, strings between quotes of its own',
    'Yes.<|tool_call>call:get_weather{city:<|"|>a "b", {c}<|"|>,days:3}<tool_call|><|tool_call>call:add{terms:[<|"|>x<|"|>,true,{<|"|>a b<|"|>:None,k:[]}]}<tool_call|><|tool_call>call:now{}<tool_call|>',
    {
      reasoning: '',
      content: 'Yes.',
      calls: [
        ['get_weather', '{"city": "a \\"b\\", {c}", "days": 3}'],
        ['add', '{"terms": ["x", true, {"a b": null, "k": []}]}'],
        ['now', '{}'],
      ],
    },
  ],
  ['functiongemma', 'cut off', '<start_function_call>call:get_weather{city:<escape>Os', calls(['get_weather', '{"city": "Os'])],
  [
    'granite',
    'a list',
    `<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "add", "arguments": ${two[1]}}]`,
    calls(oslo, two),
  ],
];

describe('calls', () => {
  for (const [format, what, text, expected] of table) {
    test(`${format}: ${what}`, () => {
      assert.deepEqual(parse([text], options(format)), expected);
      assert.deepEqual(parse([...text], options(format)), expected, 'character by character');
    });
  }

  test('further calls are dropped, and a forced answer has no content', () => {
    const text = '<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>';
    assert.deepEqual(parse([text], options('hermes', { callsMax: 1 })), calls(['now', '{}']));
    assert.deepEqual(parse(['<too'], options('hermes', { forced: true })), content(''));
  });
});

describe('reasoning', () => {
  const cases: readonly (readonly [what: string, text: string, given: ParserOptions, expected: Parsed])[] = [
    [
      'marked in the answer',
      '<think>\nHm.\n</think>\n\nYes',
      options(null, { reasoning: 'qwen3' }),
      { reasoning: 'Hm.', content: 'Yes', calls: [] },
    ],
    [
      'begun in the prompt',
      'Hm.</think>Yes',
      options(null, { reasoning: 'qwen3', begun: true }),
      { reasoning: 'Hm.', content: 'Yes', calls: [] },
    ],
    [
      'begun twice',
      '<think>Hm.</think>Yes',
      options(null, { reasoning: 'deepseek_r1', begun: true }),
      { reasoning: 'Hm.', content: 'Yes', calls: [] },
    ],
    [
      'never ended',
      'Hm. </thin',
      options(null, { reasoning: 'deepseek_r1', begun: true }),
      { reasoning: 'Hm. </thin', content: '', calls: [] },
    ],
    ['none', ' <thinking', options(null, { reasoning: 'qwen3' }), content(' <thinking')],
    ['other markers', '[THINK]Hm.[/THINK]Yes', options(null, { reasoning: 'mistral' }), { reasoning: 'Hm.', content: 'Yes', calls: [] }],
    [
      'then a call; one that is thought of is none',
      '<think>I could <tool_call>{"name": "now"}</tool_call></think>\n\n<tool_call>{"name": "now"}</tool_call>',
      options('hermes', { reasoning: 'qwen3' }),
      { reasoning: 'I could <tool_call>{"name": "now"}</tool_call>', content: '', calls: [['now', '{}']] },
    ],
  ];
  for (const [what, text, given, expected] of cases) {
    test(what, () => {
      assert.deepEqual(parse([text], given), expected);
      assert.deepEqual(parse([...text], given), expected, 'character by character');
    });
  }

  test('where an answer begins is seen at the end of the prompt', () => {
    const [qwen, r1] = ['qwen3', 'deepseek_r1'].map((name) => reasoningFormats.find((format) => format.name === name));
    assert.equal(reasoningStart(qwen!, '<|im_start|>assistant\n<think>\n', null), 'begun');
    assert.equal(reasoningStart(qwen!, '<|im_start|>assistant\n', null), 'possible');
    assert.equal(reasoningStart(qwen!, '<think>\n\n</think>\n\n', null), 'over');
    assert.equal(reasoningStart(r1!, '<｜Assistant｜>', null), 'begun');
    assert.equal(reasoningStart(r1!, '<think>\n\n</think>\n\n', null), 'over');
    assert.equal(reasoningStart(r1!, 'Paris is', 'Paris is'), 'over');
    assert.equal(reasoningStart(qwen!, 'and then', '<think>First this, and then'), 'begun');
  });

  test('a format is taken where the template knows its markers', () => {
    assert.equal(reasoningFormatOf("{{ content.split('</think>')[-1] }}")?.name, 'qwen3');
    assert.equal(reasoningFormatOf('{{ "[THINK]" + thinking }}')?.name, 'mistral');
    assert.equal(reasoningFormatOf('{{ content }}'), null);
  });

  test('is known while it lasts', () => {
    const parser = new OutputParser(options(null, { reasoning: 'qwen3' }));
    const states = ['<think>', 'a', '</think', '>', 'b'].map((piece) => [parser.push(piece).length, parser.inReasoning]);
    assert.deepEqual(states, [
      [0, true],
      [1, true],
      [0, true],
      [0, false],
      [1, false],
    ]);
  });
});

/** Text that looks like calls: whole ones, parts of them and their markers in any order, with characters of two halves between. */
const fragments = [...new Set(toolFormats.flatMap(({ opens, closes }) => [...opens, ...closes]))].concat(
  '<think>',
  '</think>',
  '{',
  '}',
  '[',
  ']',
  '(',
  ')',
  '"',
  "'",
  ',',
  ':',
  '=',
  '>',
  '\n',
  ' ',
  '\\',
  '\\u00e9',
  '😀',
  '```',
  '```json',
  '[ARGS]',
  'function<｜tool▁sep｜>',
  '</function>',
  '<parameter=city>',
  '<parameter=days>',
  '</parameter>',
  '<｜tool▁sep｜>',
  '<｜tool▁call▁end｜>',
  '<|"|>',
  '<|tool_call>call:get_weather{',
  'Oslo',
  '3',
  'null',
  'x'.repeat(40),
  'get_weather',
  'now',
  'get_weather(',
  'city=',
  '"name": "get_weather"',
  '"name": ',
  '"arguments": ',
  '"parameters": ',
  '{"city": "Oslo"}',
  ';',
  ' '.repeat(70),
  ...table.map(([, , text]) => text),
);
const anyText = fc
  .array(fc.oneof(fc.constantFrom(...fragments), fc.string({ unit: 'grapheme', maxLength: 5 })), { maxLength: 20 })
  .map((parts) => parts.join(''));

function cut(text: string, cuts: readonly number[]): string[] {
  const ends = [...new Set(cuts.map((each) => each % (text.length + 1)))].sort((a, b) => a - b);
  return [...ends, text.length].map((end, i, all) => text.slice(i === 0 ? 0 : all[i - 1], end));
}

const everyKind = fc.record({
  format: fc.constantFrom(null, ...toolFormats.map(({ name }) => name)),
  forced: fc.boolean(),
  callsMax: fc.constantFrom(1, 1000),
  reasoning: fc.constantFrom(undefined, ...reasoningFormats.map(({ name }) => name)),
  begun: fc.boolean(),
});
type Kind = typeof everyKind extends fc.Arbitrary<infer T> ? T : never;
const optionsOf = ({ format, reasoning, ...more }: Kind) => options(format, { ...more, ...(reasoning === undefined ? {} : { reasoning }) });

describe('any text', () => {
  const numRuns = 3000;

  test('cut anywhere gives what the whole gives', () => {
    const property = fc.property(everyKind, anyText, fc.array(fc.nat(), { maxLength: 30 }), (kind, text, cuts) => {
      const whole = parse([text], optionsOf(kind));
      assert.deepEqual(parse(cut(text, cuts), optionsOf(kind)), whole);
      assert.deepEqual(parse(text.split(''), optionsOf(kind)), whole);
    });
    fc.assert(property, { numRuns });
  });

  test('leaves no marker of a call in the content', () => {
    const property = fc.property(everyKind, anyText, (kind, text) => {
      if (kind.format === null) return;
      const { opens, closes, bare } = formatOf(kind.format);
      const { content: shown } = parse([text], optionsOf(kind));
      for (const marker of [...opens, ...closes]) assert.ok(bare === true || !shown.includes(marker), `${marker} in ${shown}`);
    });
    fc.assert(property, { numRuns });
  });

  test('is held back no longer than it may be a marker', () => {
    const longest = Math.max(...toolFormats.flatMap(({ opens, closes }) => [...opens, ...closes].map((marker) => marker.length)));
    const property = fc.property(
      everyKind,
      fc.array(fc.constantFrom('a', '<', '[', '｜', ' ', '{'), { maxLength: 200 }),
      (kind, letters) => {
        const parser = new OutputParser(optionsOf(kind));
        let held = 0;
        for (const letter of ['x', ...letters]) {
          held += 1;
          for (const event of parser.push(letter)) if ('text' in event) held -= event.text.length;
          assert.ok(held < longest + 64, `${held} held back of ${letters.join('')}`);
        }
      },
    );
    fc.assert(property, { numRuns: 500 });
  });
});

test('arguments before the name, and names, are held back up to a bound', () => {
  const parser = new OutputParser(options('hermes'));
  parser.push('<tool_call>{"arguments": {"city": "');
  let given = '';
  for (let i = 0; i < callHeadLenMax; i += 1024)
    for (const event of parser.push('x'.repeat(1024))) if ('text' in event) given += event.text;
  for (const event of parser.push('y')) if ('text' in event) given += event.text;
  assert.match(given, /^\{"arguments": \{"city": "x+y$/);
});

test('a typed value that becomes too long is a string', () => {
  const parser = new OutputParser(options('qwen3_coder'));
  const events = ['<function=add><parameter=terms>[', '1,'.repeat(40_000), '</parameter></function>'].flatMap((piece) =>
    parser.push(piece),
  );
  const text = events.map((event) => (event.type === 'arguments' ? event.text : '')).join('');
  assert.equal(JSON.parse(text).terms.length, 80_001);
});
