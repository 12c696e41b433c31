import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { LockstepError } from '../errors.js';
import { accepts, generate, Walker } from './test-walker.js';

/** Regular expressions over a few characters, so that random texts have a chance to match. */
const { regex } = fc.letrec<{ regex: string; atom: string }>((tie) => ({
  atom: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom('a', 'b', 'c', '.', '[ab]', '[^a]', '\\w', '\\d', 'é', '😀', '\\u0061', '[a-c0]', '\\n', '\\x62', '[^]'),
    tie('regex').map((inner) => `(${inner})`),
    tie('regex').map((inner) => `(?:${inner})`),
  ),
  regex: fc
    .array(fc.tuple(tie('atom'), fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,3}', '{2,}', '*?')), { minLength: 0, maxLength: 3 })
    .map((items) => items.map(([atom, count]) => atom + count).join(''))
    .chain((first) => fc.option(tie('atom'), { nil: null, freq: 4 }).map((other) => (other === null ? first : `${first}|${other}`))),
}));
const text = fc.array(fc.constantFrom('a', 'b', 'c', '0', 'é', '😀', '\n', ' '), { maxLength: 8 }).map((chars) => chars.join(''));

test('texts match as JavaScript says, and what is generated matches', () => {
  fc.assert(
    fc.property(regex, fc.array(text, { minLength: 5, maxLength: 10 }), fc.infiniteStream(fc.nat(1 << 20)), (pattern, texts, numbers) => {
      const expected = new RegExp(`^(?:${pattern})$`, 'u');
      let walker: Walker;
      try {
        walker = new Walker({ kind: 'regex', pattern });
      } catch (error) {
        assert.match(String(error), /allows no text|too large/);
        return;
      }
      for (const each of texts) assert.equal(accepts(walker, each), expected.test(each), JSON.stringify([pattern, each]));
      // JavaScript's own matcher takes exponential time for longer ones.
      const made = generate(walker, (count) => numbers.next().value! % count, 12);
      if (made !== null) assert.ok(expected.test(made), JSON.stringify([pattern, made]));
    }),
    { numRuns: 300 },
  );
});

test('a pattern is searched for, with its anchors', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['^a', ['a', 'ab'], ['ba', '']],
    ['a$', ['a', 'ba'], ['ab']],
    ['^(a|b)$', ['a', 'b'], ['ab', '']],
    ['a|^b', ['xa', 'by'], ['xb']],
    ['', ['', 'x'], []],
    ['^$', [''], ['a']],
    ['(^a|b)c', ['ac', 'xbc'], ['xac']],
  ];
  for (const [pattern, yes, no] of cases) {
    const walker = new Walker({ kind: 'json_schema', schema: { type: 'string', pattern } });
    for (const each of yes) assert.ok(accepts(walker, JSON.stringify(each)), `${pattern} in ${each}`);
    for (const each of no) assert.ok(!accepts(walker, JSON.stringify(each)), `${pattern} not in ${each}`);
  }
});

test('what is not regular is refused by name', () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['(?=a)b', /looks ahead/],
    ['(?<!a)b', /looks behind/],
    ['(a)\\1', /refers back/],
    ['\\bword\\b', /word boundaries/],
    ['(a', /unmatched \(/],
    ['a)', /unmatched \)/],
    ['[b-a]', /out of order/],
    ['a{3,1}', /out of order/],
    ['*a', /nothing to repeat/],
    ['a{20000}', /more than 10000 times/],
    ['\\q', /unknown escape/],
    ['\\p{Nonsense}', /unknown property/],
    ['(a{1000}){1000}', /too large/],
    ['a'.repeat(20_000), /at most 16384/],
    ['(?:'.repeat(500) + ')'.repeat(500), /too deeply/],
  ];
  for (const [pattern, words] of refused) {
    assert.throws(
      () => new Walker({ kind: 'regex', pattern }),
      (error) => error instanceof LockstepError && error.code === 'invalid_value' && words.test(error.message),
      pattern.slice(0, 40),
    );
  }
});
