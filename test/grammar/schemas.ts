/** Random JSON Schemas of the features that grammars keep, for fast-check; some cannot be satisfied, and some are refused. */
import { fc } from '../property.js';

type Json = unknown;
type Schema = Record<string, Json>;

const names = fc.constantFrom('a', 'b', 'name', 'value', 'é"q', 'x y', 'item', 'kind');
const words = fc.constantFrom('red', 'green', 'a"b\\c', 'x\ny', '', 'Ж', '😀', 'kind');
const scalar = fc.oneof(words, fc.integer({ min: -50, max: 50 }), fc.boolean(), fc.constant(null), fc.constant(1.5));

const text: fc.Arbitrary<Schema> = fc.oneof(
  fc.constant({ type: 'string' }),
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 8 }))
    .map(([minLength, more]) => ({ type: 'string', minLength, maxLength: minLength + more })),
  fc
    .constantFrom('^[a-z]{1,3}$', '[0-9]+', '^a|b$', '^(foo|bar)-\\d{2}$', '^\\S+@\\S+$', 'x.y', '^[^"\\\\]*$', '^\\p{Lu}\\w*$')
    .map((pattern) => ({
      type: 'string',
      pattern,
    })),
  fc.constantFrom('^[a-z]+$', '[0-9]').map((pattern) => ({ type: 'string', pattern, minLength: 2, maxLength: 5 })),
  fc
    .constantFrom('date', 'time', 'date-time', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uri', 'uuid')
    .map((format) => ({ type: 'string', format })),
);

const bound = fc.oneof(
  fc.integer({ min: -300, max: 300 }),
  fc.double({ min: -20, max: 20, noNaN: true }),
  fc.constantFrom(0, 0.1, -0.5, 1e-3),
);
const number: fc.Arbitrary<Schema> = fc
  .record({
    type: fc.constantFrom('number', 'integer'),
    least: fc.option(fc.tuple(bound, fc.boolean())),
    span: fc.option(fc.tuple(fc.double({ min: 0, max: 500, noNaN: true }), fc.boolean())),
    multipleOf: fc.option(fc.constantFrom(2, 3, 5, 7), { freq: 6 }),
  })
  .map(({ type, least, span, multipleOf }) => {
    const schema: Schema = { type };
    const from = least?.[0] ?? -100;
    if (least !== null) schema[least[1] ? 'exclusiveMinimum' : 'minimum'] = least[0];
    if (span !== null) schema[span[1] ? 'exclusiveMaximum' : 'maximum'] = from + span[0];
    if (multipleOf !== null && type === 'integer') schema['multipleOf'] = multipleOf;
    return schema;
  });

const leaf: fc.Arbitrary<Schema> = fc.oneof(
  text,
  number,
  fc.constantFrom<Schema>({ type: 'boolean' }, { type: 'null' }, { type: ['string', 'null'] }, { type: ['integer', 'boolean'] }),
  fc.uniqueArray(scalar, { minLength: 1, maxLength: 5 }).map((values) => ({ enum: values })),
  fc.oneof(scalar, fc.constant({ a: [1, 'x'] })).map((value) => ({ const: value })),
);

/** Schemas that can be broken: what `not`, `if` and the alternatives of `oneOf` may be. */
const breakable: fc.Arbitrary<Schema> = fc.oneof(
  fc.constantFrom<Schema>(
    { type: 'string' },
    { type: 'integer' },
    { type: 'number' },
    { type: ['object', 'array', 'null'] },
    { pattern: '^[a-m]' },
    { minLength: 3 },
    { maxLength: 2 },
    { minItems: 2 },
    { contains: { type: 'integer' } },
    { items: { type: 'string' } },
    { allOf: [{ type: 'number' }, { minimum: 0 }] },
    { anyOf: [{ type: 'string' }, { maximum: 10 }] },
    { not: { type: 'boolean' } },
  ),
  number.map(({ multipleOf: _, ...bounds }) => bounds),
  fc.uniqueArray(scalar, { minLength: 1, maxLength: 3 }).map((values) => ({ enum: values })),
  fc
    .tuple(
      names,
      fc.oneof(
        scalar.map((value) => ({ const: value })),
        fc.constant({ type: 'string' }),
      ),
      fc.boolean(),
    )
    .map(([name, value, isRequired]) => ({ type: 'object', properties: { [name]: value }, ...(isRequired && { required: [name] }) })),
);

const { schema: nested } = fc.letrec<{ schema: Schema; object: Schema; array: Schema }>((tie) => ({
  object: fc
    .record({
      entries: fc.uniqueArray(fc.tuple(names, tie('schema'), fc.boolean()), { maxLength: 4, selector: ([name]) => name }),
      extra: fc.oneof(fc.constant(undefined), fc.boolean(), tie('schema')),
      map: fc.boolean(),
      limits: fc.constantFrom<Schema>({}, { minProperties: 1 }, { maxProperties: 3 }, { propertyNames: { pattern: '^[a-z]+$' } }),
    })
    .map(({ entries, extra, map, limits }) => {
      if (map || entries.length === 0) return { type: 'object', additionalProperties: extra ?? true, ...limits };
      const properties = Object.fromEntries(entries.map(([name, schema]) => [name, schema]));
      const required = entries.filter(([, , isRequired]) => isRequired).map(([name]) => name);
      return { type: 'object', properties, required, ...(extra === undefined ? {} : { additionalProperties: extra }) };
    }),
  array: fc
    .record({
      items: fc.option(tie('schema'), { nil: undefined }),
      prefixItems: fc.option(fc.array(tie('schema'), { minLength: 1, maxLength: 3 }), { nil: undefined, freq: 3 }),
      minItems: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
      maxItems: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
    })
    .map((parts) => ({ type: 'array', ...Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) })),
  schema: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    leaf,
    tie('object'),
    tie('array'),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc.constantFrom<Schema>({ $ref: '#/$defs/tree' }, { $ref: '#/$defs/list' }),
    fc.tuple(fc.boolean(), number, number).map(([first, a, b]) => ({ allOf: first ? [a, b] : [b] })),
    fc.tuple(tie('object'), names).map(([object, name]) => ({ allOf: [object, { required: [name] }] })),
    fc.tuple(names, text, number).map(([name, a, b]) => ({
      oneOf: [
        { type: 'object', properties: { kind: { const: 't' }, [name]: a }, required: ['kind'] },
        { type: 'object', properties: { kind: { const: 'n' }, [name]: b }, required: ['kind'] },
      ],
    })),
    fc.tuple(text, number).map((oneOf) => ({ oneOf })),
    fc.array(breakable, { minLength: 2, maxLength: 3 }).map((oneOf) => ({ oneOf })),
    fc.tuple(fc.oneof(leaf, tie('object'), fc.constant({})), breakable).map(([schema, not]) => ({ ...schema, not })),
    fc
      .tuple(fc.oneof(leaf, tie('object'), tie('array')), breakable, fc.option(breakable), fc.option(breakable))
      .map(([schema, test, then, other]) => ({ ...schema, if: test, ...(then && { then }), ...(other && { else: other }) })),
    fc.tuple(tie('object'), names, names).map(([object, a, b]) => ({ ...object, dependentRequired: { [a]: [b] } })),
    fc.tuple(tie('object'), names, tie('object')).map(([object, a, then]) => ({ ...object, dependentSchemas: { [a]: then } })),
    fc
      .tuple(fc.option(leaf), leaf, fc.nat(2), fc.option(fc.integer({ min: 2, max: 3 })))
      .map(([items, contains, minContains, maxContains]) => ({
        type: 'array',
        ...(items && { items }),
        contains,
        minContains,
        ...(maxContains && { maxContains }),
      })),
    fc
      .tuple(fc.uniqueArray(scalar, { minLength: 1, maxLength: 5 }), fc.nat(2))
      .map(([values, minItems]) => ({ type: 'array', items: { enum: values }, uniqueItems: true, minItems })),
    fc.constant<Schema>({ type: 'object', patternProperties: { '^x_[a-z]{1,4}$': { type: 'integer' } }, additionalProperties: false }),
  ),
}));

const definitions = {
  tree: {
    type: 'object',
    properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/tree' } } },
    required: ['value'],
  },
  list: {
    anyOf: [
      { type: 'null' },
      { type: 'object', properties: { head: { type: 'boolean' }, tail: { $ref: '#/$defs/list' } }, required: ['head', 'tail'] },
    ],
  },
};

export const anySchema: fc.Arbitrary<Schema> = nested.map((schema) => ({ ...schema, $defs: definitions }));

/** Of a function's parameters. */
export const anyParameters: fc.Arbitrary<Schema> = fc
  .record({
    entries: fc.uniqueArray(fc.tuple(fc.constantFrom('city', 'days', 'text', 'x_1'), fc.oneof(text, nested), fc.boolean()), {
      minLength: 1,
      maxLength: 3,
      selector: ([name]) => name,
    }),
    extra: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.oneof(leaf, fc.constant(true)) }),
  })
  .map(({ entries, extra }) => ({
    type: 'object',
    properties: Object.fromEntries(entries.map(([name, schema]) => [name, schema])),
    required: entries.filter(([, , isRequired]) => isRequired).map(([name]) => name),
    ...(extra === undefined ? {} : { additionalProperties: extra }),
    $defs: definitions,
  }));
