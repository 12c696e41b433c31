import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { LockstepError } from '../errors.js';
import type { GrammarSpec, TagSpec } from './spec.js';
import { accepts, generate, Walker } from './test-walker.js';

function check(spec: GrammarSpec, yes: readonly string[], no: readonly string[]): void {
  const walker = new Walker(spec);
  for (const text of yes) assert.ok(accepts(walker, text), `${JSON.stringify(spec)} takes ${JSON.stringify(text)}`);
  for (const text of no) assert.ok(!accepts(walker, text), `${JSON.stringify(spec)} does not take ${JSON.stringify(text)}`);
}

function refuses(spec: GrammarSpec, words: RegExp): void {
  assert.throws(
    () => new Walker(spec),
    (error) => error instanceof LockstepError && error.code === 'invalid_value' && words.test(error.message),
    JSON.stringify(spec).slice(0, 200),
  );
}

const json = (schema: unknown): GrammarSpec => ({ kind: 'json_schema', schema });

test('a choice is one of its texts', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ unit: 'grapheme', maxLength: 6 }), { minLength: 1, maxLength: 8 }),
      fc.string({ maxLength: 3 }),
      (choices, other) => {
        const texts = choices;
        const walker = new Walker({ kind: 'choice', choices: texts });
        for (const text of texts) assert.ok(accepts(walker, text));
        assert.equal(accepts(walker, other), texts.includes(other));
      },
    ),
    { numRuns: 100 },
  );
});

test('any JSON object, and no other JSON', () => {
  const walker = new Walker({ kind: 'json_object' });
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), { noNullPrototype: true }),
      fc.constantFrom(undefined, 1, 2, '\t'),
      (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        // A number may have 18 digits, and an exponent of two.
        fc.pre(!/\d{18}|e[+-]?\d{3}/.test(text));
        assert.ok(accepts(walker, text), text);
      },
    ),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat(1 << 20)), (numbers) => {
      const text = generate(walker, (count) => numbers.next().value! % count, 300);
      if (text !== null) assert.equal(typeof JSON.parse(text), 'object');
    }),
    { numRuns: 100 },
  );
  for (const text of ['[]', '1', '', '{}}', '{"a":}', '{"a":01}', '{"a":\n\n\n1}', '{"a" 1}', '{"\\ud800":1}'])
    assert.ok(!accepts(walker, text), text);
});

test('number bounds are kept to the digit', () => {
  const bound = fc.oneof(
    fc.integer({ min: -2000, max: 2000 }),
    fc.double({ min: -30, max: 30, noNaN: true }),
    fc.constantFrom(0, -0.001, 1e-7, 123456789.25),
  );
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.option(bound),
      fc.option(bound),
      fc.boolean(),
      fc.array(bound, { minLength: 8, maxLength: 8 }),
      (integer, low, high, exclusive, values) => {
        const schema = {
          type: integer ? 'integer' : 'number',
          ...(low !== null && { [exclusive ? 'exclusiveMinimum' : 'minimum']: low }),
          ...(high !== null && { [exclusive ? 'exclusiveMaximum' : 'maximum']: high }),
        };
        const within = (value: number) =>
          (low === null || (exclusive ? value > low : value >= low)) && (high === null || (exclusive ? value < high : value <= high));
        let walker: Walker;
        try {
          walker = new Walker(json(schema));
        } catch (error) {
          assert.match(String(error), /allows no text/);
          return;
        }
        const near = [low, high].flatMap((at) => (at === null ? [] : [at, at + 1, at - 1, at * 10, at / 10]));
        for (const value of [...values, ...near]) {
          const text = String(integer ? Math.trunc(value) : value);
          if (text.includes('e') || text === '-0' || text.replace(/\D/g, '').length > 15) continue;
          assert.equal(accepts(walker, text), within(Number(text)), `${text} of ${JSON.stringify(schema)}`);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('EBNF: quantifiers, classes, groups, remarks, recursion', () => {
  check({ kind: 'ebnf', grammar: 'root ::= "a"{2,3} ("b" | [^a-z])* # to the end\n' }, ['aa', 'aaab1'], ['a', 'aac']);
  check(
    { kind: 'ebnf', grammar: 'root ::= expr\nexpr ::= expr "+" term | term\nterm ::= [0-9]+ | "(" expr ")"' },
    ['1+2', '(1+2)+33'],
    ['1+', '+'],
  );
  check({ kind: 'ebnf', grammar: 'root ::= x? y+\nx::="\\u00e9\\n"\n\ny ::= [\\]\\-a-]\n  | "\\""' }, ['é\na', ']-a"'], ['', 'é\n']);
  check({ kind: 'ebnf', grammar: 'root ::= "(" root* ")"' }, ['()', '(()())'], ['(', ')(']);
  const refused: readonly (readonly [string, RegExp])[] = [
    ['start ::= "a"', /no rule `root`/],
    ['root ::= b', /no rule `b`/],
    ['root ::= "a" root', /allows no text/],
    ['root ::= a\na ::= b\nb ::= a "x" | "y"', /begins with itself/],
    ['root ::= "a', /ends too early/],
    ['root ::= ("a"', /\) is missing/],
    ['root ::= "a"\nroot ::= "b"', /two rules `root`/],
    ['root ::= TagDispatch("a")', /macro TagDispatch/],
    ['root = "a"', /was expected in line 1/],
  ];
  for (const [grammar, words] of refused) refuses({ kind: 'ebnf', grammar }, words);
});

const call: TagSpec = {
  kind: 'tag',
  begin: '<f=a>',
  content: json({ type: 'object', properties: { x: { type: 'integer' } }, required: ['x'] }),
  end: '</f>',
};
const other: TagSpec = { ...call, begin: '<f=b>', content: { kind: 'regex', pattern: '[0-9]+' } };
const one = '<f=a>{"x":1}</f>';

test('tags: triggered in free text, or nothing but them', () => {
  const triggered = { kind: 'triggered_tags', triggers: ['<f'], tags: [call, other], atLeastOne: false, stopAfterFirst: false } as const;
  check(triggered, ['hello', '', `hi ${one} and ${one}`, 'a < b', 'x<f=b>12</f>é'], ['<f', '<f=c>', 'hi <f=a>{}</f>', one.slice(0, -1)]);
  check({ ...triggered, atLeastOne: true, stopAfterFirst: true }, [one], ['', `${one} x`, `${one}${one}`, 'x']);
  check({ ...triggered, atLeastOne: true }, [one, `${one} x ${one}`], ['', `x ${one}`]);
  check({ ...triggered, excludes: ['bad'] }, ['good', `ba${one}d`], ['bad', `${one} bad`]);
  const tags = { kind: 'tags', tags: [call, other], separator: ', ', atLeastOne: true, stopAfterFirst: false } as const;
  check(tags, [one, `${one}, ${one}`, `<f=b>1</f>, ${one}`], ['', `${one},${one}`, `${one} x`]);
  check({ ...tags, atLeastOne: false, stopAfterFirst: true }, ['', one], [`${one}, ${one}`]);
  const twice = { kind: 'repeat', element: { kind: 'literal', text: 'ab' }, least: 1, most: 2 } as const;
  check(twice, ['ab', 'abab'], ['', 'ababab']);
  check({ ...twice, least: 0, most: null }, ['', 'ab'.repeat(5)], ['a']);
  refuses({ ...triggered, triggers: ['<g'] }, /No trigger begins/);
  refuses({ ...triggered, triggers: ['<f', '<g'] }, /No tag begins/);
});

test('reasoning is free up to its end', () => {
  const thought: GrammarSpec = { kind: 'sequence', elements: [{ kind: 'free_text', until: '</think>' }, { kind: 'json_object' }] };
  check(thought, ['hm <b> </th</think>{}', '</think>{}'], ['x{}', '</think>x{}', 'x</think>']);
  check({ kind: 'free_text', excludes: ['bad'] }, ['', 'ba bd'], ['bad', 'a bad b']);
});

test('special tokens stand for markers, and for nothing else', () => {
  const special = new Map([
    ['</think>', 7],
    ['<f=', 8],
  ]);
  const walker = new Walker({ kind: 'sequence', elements: [{ kind: 'free_text', until: '</think>' }, call] }, special);
  const push = (text: string) => [...new TextEncoder().encode(text)].every((byte) => walker.push(byte));
  assert.ok(push('some thoughts') && walker.pushToken(7) && walker.pushToken(8) && push('a>{"x":1}</f>') && walker.complete);
  walker.reset();
  assert.ok(push('a') && !walker.pushToken(8), 'no special token in free text');
  const triggered = new Walker(
    { kind: 'triggered_tags', triggers: ['<f='], tags: [call], atLeastOne: false, stopAfterFirst: false },
    special,
  );
  triggered.push(0x78);
  assert.ok(triggered.pushToken(8) && triggered.push(0x61) && !triggered.push(0x61));
});

test('schema features that cannot be kept are refused by name and place', () => {
  const refused: readonly (readonly [unknown, RegExp])[] = [
    [{ type: 'object', properties: { a: { type: 'array', uniqueItems: true } } }, /`uniqueItems` of other items .* at #\/properties\/a /],
    [{ type: 'array', items: { enum: [1, 2, 3, 4, 5, 6, 7, 8, 9] }, uniqueItems: true }, /`uniqueItems`/],
    [{ not: { type: 'string', format: 'date' } }, /`format` within `not`.* at #\/not /],
    [{ if: { uniqueItems: true }, else: false }, /`uniqueItems` within `not`, or that an `if`/],
    [{ type: 'object', not: { const: {} } }, /`not` of an object/],
    [{ not: { enum: 5 } }, /`enum` at #\/not must be a list/],
    [{ type: 'array', prefixItems: [{}], items: false, contains: { const: 1 } }, /`contains` beside a closed list/],
    [{ type: 'object', properties: { a: {} }, additionalProperties: false, propertyNames: { pattern: 'b' } }, /`propertyNames` beside/],
    [{ enum: [{}], minProperties: 1 }, /`minProperties` beside an object in `enum`/],
    [{ type: 'number', multipleOf: 0.1 }, /`multipleOf`/],
    [{ $ref: '#/$defs/no' }, /points to nothing/],
    [{ $ref: 'https://example.com/a' }, /points out of the schema/],
    [{ type: 'string', format: 'regex' }, /`format` regex/],
    [{ type: 'string', pattern: '(?=a)' }, /looks ahead/],
    [{ type: 'strng' }, /`type` "strng"/],
    [{ type: 'object', properties: [] }, /`properties`/],
    [{ type: 'string', minLength: -1 }, /`minLength`/],
    [{ type: 'object', minProperties: 3 }, /`minProperties`/],
    [
      {
        oneOf: [
          { type: 'string', format: 'date' },
          { type: 'string', format: 'time' },
        ],
      },
      /`oneOf`/,
    ],
    [{ type: 'object', properties: { a: 5 } }, /is no schema/],
    [false, /allows no text/],
    [{ type: 'integer', minimum: 3, maximum: 2 }, /allows no text/],
    [{ $ref: '#' }, /begins with itself|without end|allows no text/],
    [{ type: 'string', maxLength: 10 ** 6 }, /too large/],
    [{ type: 'array', items: { type: 'string', maxLength: 9000 }, minItems: 10 ** 6 }, /too large/],
    [{ const: 'a'.repeat(600 * 1024) }, /characters/],
  ];
  for (const [schema, words] of refused) refuses(json(schema), words);
});

test('objects: order, optional, additional and pattern properties', () => {
  const properties = { a: { type: 'integer' }, b: { type: 'boolean' }, c: {} };
  check(json({ type: 'object', properties }), ['{}', '{"a":1}', '{"b":true,"c":[1]}'], ['{"b":true,"a":1}', '{"d":1}']);
  check(json({ type: 'object', properties, required: ['b'] }), ['{"b":true}', '{"a":1, "b":false}'], ['{}', '{"a":1}']);
  check(
    json({ type: 'object', properties, additionalProperties: { type: 'string' } }),
    ['{"x":"y"}', '{"a":1,"aa":"y"}'],
    ['{"a":"y"}', '{"x":1}'],
  );
  check(json({ type: 'object', required: ['q'] }), ['{"q":1}', '{"q":null,"r":2}'], ['{}']);
  check(
    json({ type: 'object', patternProperties: { '^x_': { type: 'integer' } }, additionalProperties: false }),
    ['{}', '{"x_a":1}'],
    ['{"y":1}'],
  );
  check(
    json({ type: 'object', propertyNames: { pattern: '^[a-z]+$' }, maxProperties: 2 }),
    ['{"a":1,"b":2}'],
    ['{"A":1}', '{"a":1,"b":2,"c":3}'],
  );
  check({ kind: 'json_schema', schema: { type: 'object', properties }, closedObjects: false }, ['{"a":1,"d":1}'], ['{"b":1}']);
});

test('not, if, dependencies: what breaks a schema', () => {
  check(json({ type: 'string', not: { enum: ['a', 'b'] } }), ['""', '"c"', '"ab"'], ['"a"', '"b"', '1']);
  check(json({ not: { type: ['string', 'object', 'array'] } }), ['1', '1.5', 'null', 'true'], ['"a"', '{}', '[]']);
  check(json({ type: ['number', 'null'], not: { type: 'integer' } }), ['1.5', '-0.25', 'null'], ['1', '1.0', '10']);
  check(json({ type: 'number', not: { const: 1.5 } }), ['1', '1.51', '-1.5'], ['1.5', '1.500']);
  check(json({ enum: [1, 2, 'a', null], not: { type: 'number' } }), ['"a"', 'null'], ['1', '2']);
  check(json({ type: 'string', not: { pattern: '^x' }, minLength: 1 }), ['"a"', '"ax"'], ['"x"', '"xa"', '""']);
  check(json({ type: 'integer', not: { minimum: 3, maximum: 5 } }), ['2', '6', '-1'], ['3', '4', '5']);
  check(json({ not: { not: { const: 'a' } } }), ['"a"'], ['"b"']);
  check(json({ enum: ['red', '2024-02-29'], format: 'date' }), ['"2024-02-29"'], ['"red"']);
  check(json({ enum: ['a', 'bb', 'ccc'], minLength: 2 }), ['"bb"', '"ccc"'], ['"a"']);

  const paid = { properties: { kind: { const: 'card' } }, required: ['kind'] };
  const order = {
    type: 'object',
    properties: { kind: { enum: ['card', 'cash'] }, number: { type: 'integer' } },
    required: ['kind'],
    if: paid,
    // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword
    then: { required: ['number'] },
    else: { properties: { number: false } },
  };
  check(json(order), ['{"kind":"card","number":1}', '{"kind":"cash"}'], ['{"kind":"card"}', '{"kind":"cash","number":1}']);
  check(
    json({ type: 'object', properties: { a: { const: 1 }, b: { const: 2 } }, dependentRequired: { a: ['b'] } }),
    ['{}', '{"b":2}', '{"a":1,"b":2}'],
    ['{"a":1}'],
  );
  check(json({ oneOf: [{ type: 'integer' }, { type: 'number', minimum: 0 }] }), ['1.5', '-1'], ['1', '0', '-1.5']);
});

test('oneOf: a part of which not all values are made excludes them all the same', () => {
  const named = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
  const open = { not: { type: 'object', additionalProperties: false } };
  check(json({ oneOf: [named, open] }), ['null', '"a"', '[]'], ['{"a":1}']);
});

test('contains, and items none twice', () => {
  check(json({ type: 'array', items: { enum: [1, 2] }, contains: { const: 2 } }), ['[2]', '[2,1,2]'], ['[]', '[1]']);
  check(
    json({ type: 'array', items: { enum: [1, 2] }, contains: { const: 2 }, minContains: 2, maxContains: 2 }),
    ['[2,2]', '[2,2,1]'],
    ['[2]', '[2,2,2]'],
  );
  check(json({ type: 'array', items: { enum: [1, 2] }, contains: { const: 3 }, minContains: 0 }), ['[]', '[1]'], ['[3]']);
  check(json({ type: 'array', items: { enum: ['a', 'b', 'c'] }, uniqueItems: true }), ['[]', '["b","a"]', '["c","a","b"]'], ['["a","a"]']);
  check(
    json({ type: 'array', items: { type: 'boolean' }, uniqueItems: true, minItems: 1, maxItems: 1 }),
    ['[true]'],
    ['[]', '[true,false]'],
  );
});
