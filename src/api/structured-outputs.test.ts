import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../errors.js';
import type { GrammarSpec } from '../grammar/spec.js';
import { parseGrammar as parse } from './structured-outputs.js';

const parseGrammar = (body: Parameters<typeof parse>[0], compactJson = false) => parse(body, { compactJson });

const asked = (name: string, grammar: GrammarSpec) => ({ kind: 'field', name, grammar }) as const;

test('every way to ask for a grammar gives the same data, and says who asked', () => {
  const schema = { type: 'object', properties: { a: { type: 'integer' } } };
  assert.equal(parseGrammar({}), null);
  assert.equal(parseGrammar({ response_format: { type: 'text' } }), null);
  assert.deepEqual(parseGrammar({ response_format: { type: 'json_object' } }), asked('response_format', { kind: 'json_object' }));
  assert.deepEqual(
    parseGrammar({ response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema } } }),
    asked('response_format', { kind: 'json_schema', schema }),
  );
  const json = { kind: 'json_schema', schema, whitespace: 'any' } as const;
  assert.deepEqual(parseGrammar({ structured_outputs: { json: schema } }), asked('structured_outputs.json', json));
  assert.deepEqual(parseGrammar({ structured_outputs: { json: JSON.stringify(schema), regex: null } })?.grammar, json);
  assert.deepEqual(parseGrammar({ guided_json: schema }), asked('guided_json', json));
  assert.deepEqual(parseGrammar({ structured_outputs: { json: schema, disable_any_whitespace: true } })?.grammar, {
    ...json,
    whitespace: 'none',
  });
  assert.deepEqual(parseGrammar({ structured_outputs: { regex: 'a+' } })?.grammar, parseGrammar({ guided_regex: 'a+' })?.grammar);
  assert.deepEqual(parseGrammar({ structured_outputs: { choice: ['a', 'b'] } })?.grammar, { kind: 'choice', choices: ['a', 'b'] });
  assert.deepEqual(parseGrammar({ guided_grammar: 'root ::= "a"' }), asked('guided_grammar', { kind: 'ebnf', grammar: 'root ::= "a"' }));
});

test('--structured-outputs-config: JSON without spaces, however it is asked for', () => {
  const json = { kind: 'json_object', whitespace: 'none' };
  assert.deepEqual(parseGrammar({ response_format: { type: 'json_object' } }, true)?.grammar, json);
  assert.deepEqual(parseGrammar({ structured_outputs: { json_object: true } }, true)?.grammar, json);
  const named = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: {} } } };
  assert.deepEqual(parseGrammar(named, true)?.grammar, { kind: 'json_schema', schema: {}, whitespace: 'none' });
});

test('structural tags, in the new form and the old', () => {
  const tagOf = (field: string) => {
    const content = asked(field, { kind: 'json_schema', schema: { type: 'object' } });
    return { kind: 'tag', begin: '<f>', content, end: '</f>' } as const;
  };
  const triggered = { kind: 'triggered_tags', triggers: ['<f'], atLeastOne: false, stopAfterFirst: false } as const;
  const old = { structures: [{ begin: '<f>', schema: { type: 'object' }, end: '</f>' }], triggers: ['<f'] };
  const grammarOf = (format: object) => parseGrammar({ response_format: { type: 'structural_tag', ...format } })?.grammar;
  assert.deepEqual(grammarOf(old), { ...triggered, tags: [tagOf('response_format.structures.0.schema')] });
  assert.deepEqual(
    parseGrammar({ structured_outputs: { structural_tag: JSON.stringify(old) } }),
    asked('structured_outputs.structural_tag', { ...triggered, tags: [tagOf('structured_outputs.structural_tag.structures.0.schema')] }),
  );
  const json = { type: 'tag', begin: '<f>', content: { type: 'json_schema', json_schema: { type: 'object' } }, end: '</f>' };
  const format = { type: 'triggered_tags', triggers: ['<f'], tags: [json], at_least_one: true };
  const tag = tagOf('response_format.format.tags.0.content.json_schema');
  assert.deepEqual(grammarOf({ format }), { ...triggered, tags: [tag], atLeastOne: true, excludes: [] });
  const think = { type: 'tag', begin: '<think>', content: { type: 'any_text' }, end: '</think>' };
  const sequence = { type: 'sequence', elements: [think, { type: 'or', elements: [{ type: 'const_string', value: 'x' }] }] };
  assert.deepEqual(grammarOf({ format: sequence }), {
    kind: 'sequence',
    elements: [
      { kind: 'tag', begin: '<think>', content: { kind: 'free_text', until: '</think>', excludes: [] }, end: '' },
      { kind: 'any_of', elements: [{ kind: 'literal', text: 'x' }] },
    ],
  });
});

test('structural tags: repeats, and schemas in the forms of tool parsers', () => {
  const grammarOf = (format: object) => parseGrammar({ response_format: { type: 'structural_tag', format } })?.grammar;
  const content = { type: 'const_string', value: 'x' };
  const element = { kind: 'literal', text: 'x' };
  assert.deepEqual(grammarOf({ type: 'optional', content }), { kind: 'repeat', element, least: 0, most: 1 });
  assert.deepEqual(grammarOf({ type: 'star', content }), { kind: 'repeat', element, least: 0, most: null });
  assert.deepEqual(grammarOf({ type: 'plus', content }), { kind: 'repeat', element, least: 1, most: null });
  assert.deepEqual(grammarOf({ type: 'repeat', content, min: 2, max: 3 }), { kind: 'repeat', element, least: 2, most: 3 });
  assert.deepEqual(grammarOf({ type: 'repeat', content, min: 2, max: -1 }), { kind: 'repeat', element, least: 2, most: null });
  const schema = { type: 'object', properties: { a: { type: 'string' } } };
  const form = { kind: 'parameters', begin: '<parameter=', keyEnd: '>\n', end: '\n</parameter>\n' } as const;
  assert.deepEqual(
    grammarOf({ type: 'json_schema', json_schema: schema, style: 'qwen_xml' }),
    asked('response_format.format.json_schema', { kind: 'arguments', schema, form }),
  );
});

test('what is no grammar is refused by its place', () => {
  const text = { type: 'const_string', value: 'x' };
  const refusals: readonly (readonly [object, string | null])[] = [
    [{ structured_outputs: { choice: ['a'], regex: 'b' } }, null],
    [{ structured_outputs: { choice: ['a'] }, response_format: { type: 'json_object' } }, null],
    [{ structured_outputs: {} }, 'structured_outputs'],
    [{ structured_outputs: { xml: 'a' } }, 'structured_outputs.xml'],
    [{ structured_outputs: { regex: 'a', whitespace_pattern: ' ' } }, 'structured_outputs.whitespace_pattern'],
    [{ structured_outputs: { json: '{' } }, 'structured_outputs.json'],
    [{ structured_outputs: { choice: [] } }, 'structured_outputs.choice'],
    [{ structured_outputs: { choice: [1] } }, 'body.structured_outputs.choice.0'],
    [{ response_format: { type: 'yaml' } }, 'body.response_format.type'],
    [{ response_format: { type: 'json_schema' } }, 'response_format'],
    [{ response_format: { type: 'structural_tag', format: { type: 'tag', begin: 1 } } }, 'body.response_format.format.begin'],
    [{ response_format: { type: 'structural_tag', format: { type: 'poem' } } }, 'response_format.format.type'],
    [{ response_format: { type: 'structural_tag', format: { type: 'any_text', max_chars: 3 } } }, 'response_format.format.max_chars'],
    [{ response_format: { type: 'structural_tag', format: { type: 'json_schema', style: 'ini' } } }, 'body.response_format.format.style'],
    [
      { response_format: { type: 'structural_tag', format: { type: 'repeat', content: text, min: -1, max: 1 } } },
      'body.response_format.format.min',
    ],
  ];
  for (const [body, param] of refusals) {
    assert.throws(
      () => parseGrammar(body as Readonly<Record<string, unknown>>),
      (error) => {
        assert.ok(error instanceof LockstepError);
        assert.equal(error.param, param, JSON.stringify(body));
        return true;
      },
    );
  }
});
