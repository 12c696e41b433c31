import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LockstepError } from '../errors.js';
import type { GrammarSpec } from '../grammar/spec.js';
import { FakeEngine, fakeModel } from './fake-engine.js';
import { GrammarCompiler } from './grammar-compiler.js';

const path = fileURLToPath(new URL('../../../models/guide/tokenizer.json', import.meta.url));
const preparation = { tokenizer: { kind: 'huggingface' as const, path, config: {} }, chatTemplate: null, cache: null };
const compiler = new GrammarCompiler({ ...fakeModel(new FakeEngine()), preparation, vocabSize: 1000 });
after(() => compiler.close());

const isRefused =
  (words: RegExp, param: string | null = null) =>
  (error: unknown) =>
    error instanceof LockstepError && error.code === 'invalid_value' && words.test(error.message) && error.param === param;

test('equal grammars are compiled once, over the vocabulary of the model', async () => {
  const spec = { kind: 'regex', pattern: '[a-z]+' } as const;
  const [one, other] = await Promise.all([compiler.compile(spec), compiler.compile({ ...spec })]);
  assert.equal(one, other);
  const { automaton, vocabulary } = await compiler.compile({ kind: 'choice', choices: ['a'] });
  assert.notEqual(automaton, one.automaton);
  assert.equal(vocabulary, one.vocabulary);
  assert.equal(vocabulary.ends.length, 1000, 'ids without logits are not in it');
  assert.equal(vocabulary.bytes.length, vocabulary.ends[999]);
});

test('what cannot be kept is refused, again and again, and harms nobody', async () => {
  for (let i = 0; i < 2; i++) {
    await assert.rejects(compiler.compile({ kind: 'json_schema', schema: { format: 'regex' } }), isRefused(/`format`/));
    await assert.rejects(compiler.compile({ kind: 'regex', pattern: '[ab]*a[ab]{30}' }), isRefused(/too large/));
  }
  assert.ok((await compiler.compile({ kind: 'choice', choices: ['b'] })).automaton.length > 0);
});

test('what is wrong names its field, also from the other thread', async () => {
  const schema = (field: string, schema: unknown): GrammarSpec => ({
    kind: 'field',
    name: field,
    grammar: { kind: 'json_schema', schema },
  });
  const good = schema('first', { type: 'string' });
  const both = (second: GrammarSpec): GrammarSpec => ({
    kind: 'field',
    name: 'all',
    grammar: { kind: 'any_of', elements: [good, second] },
  });
  await assert.rejects(compiler.compile(both(schema('second', { format: 'regex' }))), isRefused(/`format`/, 'second'));
  await assert.rejects(compiler.compile(both(schema('second', { maxLength: 10 ** 6 }))), isRefused(/too large/, 'second'));
  const tooMany = { type: 'array', items: { enum: [1] }, minItems: 350_000 };
  await assert.rejects(compiler.compile(both(schema('second', tooMany))), isRefused(/too large/, 'second'));
  const none: GrammarSpec = { kind: 'sequence', elements: [{ kind: 'free_text', until: 'x' }, schema('only', false)] };
  await assert.rejects(compiler.compile(none), isRefused(/allows no text/, 'only'));
});
