import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anyOf, boolean, findFault, integer, list, nullable, number, object, oneWord, type Schema, string } from './schema.js';

const faultOf = (schema: Schema, value: unknown, lenient = false) => {
  const fault = findFault(schema, value, lenient);
  return fault === null ? null : `${fault.path.join('.')}: ${fault.expected}`;
};

test('types', () => {
  const values: [Schema, unknown][] = [
    [string, 'a'],
    [integer, 1],
    [number, 1.5],
    [boolean, false],
    [list(integer), [1, 2]],
    [object({ a: integer }), { a: 1 }],
  ];
  for (const [schema, value] of values) {
    for (const [other, wrong] of values) {
      const fits = schema === other || (schema === number && other === integer);
      assert.equal(findFault(schema, wrong) === null, fits, `${JSON.stringify(wrong)} as ${JSON.stringify(schema)}`);
    }
    assert.notEqual(findFault(schema, null), null);
    assert.equal(findFault(nullable(schema), null), null);
    assert.equal(findFault(nullable(schema), value), null);
  }
});

test('a fault says where, and what should be there', () => {
  assert.equal(faultOf({ type: 'integer', minimum: 0, maximum: 3 }, 4), ': an integer, at least 0 and at most 3');
  assert.equal(faultOf({ type: 'number', exclusiveMinimum: 0 }, 0), ': a number, above 0');
  assert.equal(faultOf({ type: 'string', minLength: 1, maxLength: 3 }, ''), ': a string of 1 to 3 characters');
  assert.equal(faultOf(oneWord('left', 'right'), 'up'), ': one of "left", "right"');
  assert.equal(faultOf(list(string, { maxItems: 1 }), ['a', 'b']), ': a list of 0 to 1, each item a string');
  assert.equal(faultOf(list(object({ a: list(integer) })), [{ a: [1] }, { a: [1, 'x'] }]), '1.a.1: an integer');
  assert.equal(faultOf(object({ a: integer }), {}), 'a: an integer');
});

test('a property that nobody knows is a fault, but where others may pass', () => {
  assert.equal(faultOf(object({}, { a: integer }), { b: 1 }), 'b: null');
  assert.equal(faultOf(object({}, { a: integer }), { b: 1 }, true), null);
  assert.equal(faultOf(object({}, { a: integer }), { a: null }), null);
  assert.equal(faultOf(object({}, { a: integer }, { open: true }), { b: 1 }), null);
  assert.equal(faultOf(object({}, { a: integer }), JSON.parse('{"__proto__": 1}')), '__proto__: null');
});

test('of several choices, the one that fits furthest tells what is wrong', () => {
  const prompt = anyOf(string, list(string), list(integer), list(list(integer)));
  assert.equal(
    faultOf(prompt, 5),
    ': a string or a list, each item a string or a list, each item an integer or a list, each item a list, each item an integer',
  );
  assert.equal(faultOf(prompt, ['a', 5]), '1: a string');
  assert.equal(faultOf(prompt, [1, 2, 'a']), '2: an integer');
  assert.equal(faultOf(prompt, [[1], [2, 'a']]), '1.1: an integer');
});

test('of choices that say their type, the one of that type tells what is wrong', () => {
  const item = anyOf(object({ type: oneWord('a', 'b'), x: integer }), object({ y: string }, { type: oneWord('c') }));
  assert.equal(faultOf(item, { type: 'c', y: 1 }), 'y: a string');
  assert.equal(faultOf(item, { type: 'b', x: 'z' }), 'x: an integer');
  assert.equal(faultOf(item, { type: 'd' }), 'type: one of "a", "b", "c"');
  assert.equal(faultOf(item, { y: 'without a type' }), null);
  assert.equal(faultOf(item, 5), ': an object or an object');
});
