import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../errors.js';
import { parseJsonKeepingNumbers } from './json-numbers.js';
import { type ChatMessage, createChatTemplate, type RenderOptions, type TemplateSettings } from './template.js';

const tokens = { bosToken: '<s>', eosToken: '</s>' };
const noOptions: RenderOptions = { addGenerationPrompt: false, continueFinalMessage: false };

function render(
  source: string,
  messages: readonly ChatMessage[] = [],
  options: Partial<RenderOptions> = {},
  settings: TemplateSettings = {},
) {
  return createChatTemplate(source, tokens, settings).render(messages, { ...noOptions, ...options });
}
const print = (expression: string, kwargs: Record<string, unknown> = {}) => render(`{{ ${expression} }}`, [], { kwargs });

/** Several expressions at once. */
const printTuple = (expressions: string, kwargs: Record<string, unknown> = {}) => print(`(${expressions})`, kwargs);

const chat =
  "{% for m in messages %}{{ bos_token if loop.first else '' }}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}\n{% endfor %}" +
  '{% if add_generation_prompt %}[assistant]{% endif %}';
const messages: readonly ChatMessage[] = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: ' Hello, ' },
];

test('messages, tokens and the generation prompt', () => {
  assert.equal(render(chat, messages, { addGenerationPrompt: true }), '<s>[user]Hi</s>\n[assistant]Hello,</s>\n[assistant]');
});

test('continueFinalMessage cuts behind the last content', () => {
  assert.equal(render(chat, messages, { continueFinalMessage: true }), '<s>[user]Hi</s>\n[assistant]Hello,');
  assert.equal(render('{{ messages[0].content }}END', [{ role: 'user', content: 'a b ' }], { continueFinalMessage: true }), 'a b ');
  assert.throws(
    () => render('nothing', messages, { continueFinalMessage: true }),
    (error) => error instanceof LockstepError && error.param === 'continue_final_message',
  );
});

test('parts are one text, unless the template walks over them', () => {
  const parts: readonly ChatMessage[] = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    },
  ];
  assert.equal(render(chat, parts), '<s>[user]a\nb</s>\n');
  assert.equal(render('{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}', parts), '<a><b>');
  assert.equal(
    render("{% for m in messages %}{% set c = m['content'] %}{% for p in c %}<{{ p.text }}>{% endfor %}{% endfor %}", parts),
    '<a><b>',
  );
  assert.equal(
    render('{{ messages[0].content }}', parts, {}, { contentFormat: 'openai' }),
    "[{'type': 'text', 'text': 'a'}, {'type': 'text', 'text': 'b'}]",
  );
});

test('a text becomes a part where the template takes nothing else', () => {
  const parts = '{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}';
  assert.equal(render(parts, [{ role: 'user', content: 'Hi' }]), '<Hi>');
  const either =
    '{% for m in messages %}{% if m.content is string %}[{{ m.content }}]{% else %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}';
  assert.equal(render(either, [{ role: 'user', content: 'Hi' }]), '[Hi]');
});

test('a message of calls alone has the content that its template can take', () => {
  const calling: readonly ChatMessage[] = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: null, tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{}' } }] },
  ];
  assert.equal(render("{% for m in messages %}{{ '[' + m.content + ']' }}{% endfor %}", calling), '[Hi][]');
  assert.equal(render('{% for m in messages %}[{{ m.content }}]{% endfor %}', calling), '[Hi][]');
  const twoTurns =
    '{% for m in messages %}{% for c in m.tool_calls %}<{{ c.function.name }}>{% endfor %}{% if m.content is not none %}[{{ m.content }}]{% endif %}{% endfor %}';
  assert.equal(render(twoTurns, calling), '[Hi]<f>');
  const eitherOr =
    '{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}<{{ c.function.name }}>{% endfor %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}';
  assert.equal(render(eitherOr, calling), '[Hi]<f>');
  assert.equal(render('{% for m in messages %}[{{ m.content }}]{% endfor %}', calling, {}, { noContent: null }), '[Hi][None]');
});

test('arguments are objects, or text where the template takes nothing else', () => {
  const calling = [
    { role: 'user', content: 'Hi' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ function: { name: 'f', arguments: { a: [1, 'é'] } } }, { function: { name: 'g' } }],
    },
  ];
  const calls = (argument: string) => `{% for m in messages %}{% for c in m.tool_calls %}${argument};{% endfor %}{% endfor %}`;
  assert.equal(render(calls('{{ c.function.arguments }}'), calling), "{'a': [1, 'é']};;");
  const joined = calls("{{ c.function.name + (c.function.arguments or '') }}");
  assert.equal(render(joined, calling), 'f{"a": [1, "é"]};g;');
});

test('a refusal of the template is a 400 with its words', () => {
  assert.throws(
    () => render("{{ raise_exception('Roles must alternate') }}", messages),
    (error) => error instanceof LockstepError && error.code === 'invalid_value' && error.message === 'Roles must alternate',
  );
  assert.throws(() => render("{{ messages[0].content + ['x'] }}", messages), /cannot render these messages: unsupported operands for \+/);
  assert.throws(() => render('{{ 1 | nofilter }}'), /nofilter/);
});

test('a source that is no template is refused at start', () => {
  assert.throws(
    () => createChatTemplate('{% for %}', tokens),
    (error) => error instanceof LockstepError && error.code === 'start',
  );
});

test('values print as in Python', () => {
  assert.equal(print('none'), 'None');
  assert.equal(print('true'), 'True');
  assert.equal(print('absent'), '');
  assert.equal(print("['a', 1, 1.5, none, {'k': \"it's\"}, (1, 2)]"), "['a', 1, 1.5, None, {'k': \"it's\"}, (1, 2)]");
  assert.deepEqual(
    [1, 1e-5, 0.0001, 1e16, 123456789012345680, 1.5e300, 0.1, 100.5, -2.5].map((x) => print('x / 1', { x })),
    ['1.0', '1e-05', '0.0001', '1e+16', '1.2345678901234568e+17', '1.5e+300', '0.1', '100.5', '-2.5'],
  );
  assert.equal(print("'a\\nb' ~ 1 ~ none"), 'a\nb1None');
});

test('comparisons and arithmetic as in Python', () => {
  assert.equal(printTuple("1 == 1.0, 1 == '1', [1] == [1], true == 1, absent == none"), '(True, False, True, True, False)');
  assert.equal(printTuple('7 // 2, -7 // 2, -7 % 3, 7 / 2, 2 ** 3'), '(3, -4, 2, 3.5, 8)');
  assert.equal(printTuple("'ab' * 2, 2 in [1, 2], 'k' in {'k': 1}, none in [none]"), "('abab', True, True, True)");
  assert.equal(printTuple("'%s is %d' % ('a', 3), '{} {1} {n}'.format('x', 'y', n=2)"), "('a is 3', 'x y 2')");
});

test('str, list and dict methods as in Python', () => {
  assert.equal(
    printTuple("'xxaxx'.strip('x'), ' a '.lstrip(), '\\n\\na'.lstrip('\\n'), 'a.b.c'.rsplit('.', 1)"),
    "('a', 'a ', 'a', ['a.b', 'c'])",
  );
  assert.equal(
    printTuple("'a-b'.partition('-'), ', '.join(['a', 'b']), 'ab'.startswith('a'), 'aXb'.capitalize()"),
    "(('a', '-', 'b'), 'a, b', True, 'Axb')",
  );
  assert.equal(print("'aXbXc'.replace('X', '-', 1) ~ ('aXb' | replace('X', ''))"), 'a-bXcab');
  assert.equal(printTuple("d.items() | list, d['items'], d.get('no', 2)", { d: { items: 1 } }), "([('items', 1)], 1, 2)");
  assert.equal(print('{512: 1, 0: 2} | dictsort'), '[(0, 2), (512, 1)]');
});

test('filters and tests as in Python', () => {
  assert.equal(printTuple("'😀é' | length, absent | length, none | string, [3, 1] | min, [1, 1.5] | sum"), "(2, 0, 'None', 1, 2.5)");
  assert.equal(
    printTuple("['b', 'A'] | sort, [1, 1, 2] | unique | list, [1, 2] | join('-'), [] | first"),
    "(['A', 'b'], [1, 2], '1-2', Undefined)",
  );
  const items = [{ a: 1, b: 'x' }, { a: 2 }];
  assert.equal(
    printTuple("items | selectattr('b', 'defined') | list | length, items | map(attribute='a') | list", { items }),
    '(1, [1, 2])',
  );
  assert.equal(
    printTuple("[' a '] | map('trim') | list, [0, 1] | select | list, [1, 2] | reject('equalto', 1) | list"),
    "(['a'], [1], [2])",
  );
  assert.equal(
    printTuple("1 is number, 1.5 is float, {} is mapping, 'a' is iterable, none is not none"),
    '(True, True, True, True, False)',
  );
});

test('what a turn of a loop sets is gone in the next; break and continue end one', () => {
  assert.equal(render('{% for i in [1, 2] %}{{ x is defined }}{% set x = i %}{% endfor %}'), 'FalseFalse');
  assert.equal(
    render('{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}'),
    '02',
  );
  assert.equal(render('{% for a, b in [(1, 2)] %}{{ a + b }}{% endfor %}{% for x in [] %}{% else %}none{% endfor %}'), '3none');
});

test('tojson is json.dumps: numbers keep their form, HTML and other letters stay', () => {
  const tools = parseJsonKeepingNumbers('[{"a": 1.0, "b": 1e-05, "c": 10, "d": "<é>\\u2028", "e": 1E2, "f": "1.0"}]') as unknown[];
  assert.equal(
    render('{{ tools | tojson }}', [], { tools }),
    '[{"a": 1.0, "b": 1e-05, "c": 10, "d": "<é>\u2028", "e": 100.0, "f": "1.0"}]',
  );
  assert.equal(print("{'b': [], 'a': {'x': 1}} | tojson(indent=2)"), '{\n  "b": [],\n  "a": {\n    "x": 1\n  }\n}');
  assert.equal(print("{'b': 'é', 'a': 1} | tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':'))"), '{"a":1,"b":"\\u00e9"}');
  assert.equal(render('{{ tools is none }}'), 'True');
});

test('parseJsonKeepingNumbers is JSON.parse otherwise', () => {
  assert.deepEqual(parseJsonKeepingNumbers('{"a": [1, -2.5, "x\\"1.0"]}'), { a: [1, -2.5, 'x"1.0'] });
  assert.throws(() => parseJsonKeepingNumbers('{"a": 1.0,}'), SyntaxError);
});

test('the clock of strftime_now', () => {
  const now = () => new Date(2026, 0, 5, 15, 4, 5);
  assert.equal(
    render("{{ strftime_now('%d %b %Y|%-d %B %y|%H:%M:%S %p|%A %j|%F|%%|%Q') }}", [], {}, { now }),
    '05 Jan 2026|5 January 26|15:04:05 PM|Monday 005|2026-01-05|%|%Q',
  );
});

test('a template that never ends is cut off', () => {
  const endless: readonly (readonly [string, RegExp])[] = [
    ['{% for i in range(10**9) %}x{% endfor %}', /range of 1000000000/],
    ['{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}', /steps/],
    ["{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", /characters/],
    ['{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}', /list of more than/],
    ["{{ 'a' * 10**12 }}", /characters/],
    ["{% set s = 'a' * 10**6 %}{{ s.replace('a', s) }}", /characters/],
    ["{% set s = 'a' * 10**6 %}{{ range(90000) | join(s) }}", /characters/],
    ["{% set s = 'a' * 10**6 %}{% for i in range(90000) %}{% set x = s.replace('a', 'bb') %}{% endfor %}", /steps/],
    ['{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}', /cannot be run|beyond/],
    ["{% set a = range(90000) %}{% for i in a %}{{ 'x' in a }}{% endfor %}", /steps/],
  ];
  for (const [source, message] of endless) {
    assert.throws(
      () => render(source),
      (error) => error instanceof LockstepError && error.code === 'invalid_value' && message.test(error.message),
      source,
    );
  }
});
