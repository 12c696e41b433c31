/**
 * JSON Schemas without references and combinators: `alternatives` writes a schema as a list of flat ones, of which a value must satisfy
 * one. What cannot be promised is refused by its name and place.
 */
import { isDeepStrictEqual } from 'node:util';
import { LockstepError } from '../errors.js';

export type Flat = Readonly<Record<string, unknown>>;
export type Schema = Flat | boolean;

export const refusal = (what: string, place: string, why = 'is not supported') =>
  new LockstepError('invalid_value', `The JSON schema cannot be kept: ${what} at ${place} ${why}.`);

const unserved: ReadonlySet<string> = new Set([
  'not',
  'if',
  'then',
  'else',
  'dependentRequired',
  'dependentSchemas',
  'dependencies',
  'contains',
  'minContains',
  'maxContains',
  'unevaluatedItems',
  '$dynamicRef',
  '$recursiveRef',
]);
/** What limits nothing. Any other name that is not known is a remark too, as the standard has it. */
const remarks: ReadonlySet<string> = new Set([
  'title',
  'description',
  'default',
  'examples',
  '$schema',
  '$id',
  '$anchor',
  '$comment',
  '$defs',
  'definitions',
  'readOnly',
  'writeOnly',
  'deprecated',
]);
const combinators: ReadonlySet<string> = new Set(['$ref', 'allOf', 'anyOf', 'oneOf']);

/** Ways to satisfy one schema, after its combinators are multiplied out. */
const alternativesMax = 500;
const depthMax = 64;

export const isSchema = (value: unknown): value is Schema =>
  typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value));

/** Throws where a schema should be and is none, and for keywords that are not served. */
export function checkedSchema(value: unknown, place: string): Schema {
  if (!isSchema(value)) throw refusal('the value', place, 'is no schema');
  if (typeof value === 'boolean') return value;
  for (const [name, given] of Object.entries(value)) {
    const neutral = given === false && (name === 'uniqueItems' || name === 'unevaluatedItems');
    if (!neutral && (unserved.has(name) || name === 'uniqueItems')) throw refusal(`\`${name}\``, place);
  }
  return value;
}

/** The schema that a `$ref` names: within the document, by JSON pointer or by anchor. */
export function resolveRef(root: Schema, ref: unknown, place: string): Schema {
  if (typeof ref !== 'string') throw refusal('`$ref`', place, 'must be a string');
  if (!ref.startsWith('#')) throw refusal(`\`$ref\` ${JSON.stringify(ref)}`, place, 'points out of the schema');
  const path = decodeURIComponent(ref.slice(1));
  if (path !== '' && !path.startsWith('/')) {
    const anchored = findAnchor(root, path);
    if (anchored === null) throw refusal(`\`$ref\` ${JSON.stringify(ref)}`, place, 'points to nothing');
    return anchored;
  }
  let found: unknown = root;
  for (const step of path.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~');
    found = typeof found === 'object' && found !== null && Object.hasOwn(found, key) ? (found as Flat)[key] : undefined;
  }
  if (!isSchema(found)) throw refusal(`\`$ref\` ${JSON.stringify(ref)}`, place, 'points to nothing');
  return found;
}

function findAnchor(value: unknown, name: string): Schema | null {
  if (typeof value !== 'object' || value === null) return null;
  if ((value as Flat)['$anchor'] === name) return value as Flat;
  for (const each of Object.values(value)) {
    const found = findAnchor(each, name);
    if (found !== null) return found;
  }
  return null;
}

/** Whether nothing but remarks stands beside `keyword`. */
export const isOnly = (schema: Flat, keyword: string): boolean =>
  Object.keys(schema).every((name) => name === keyword || (remarks.has(name) && !combinators.has(name)));

export function alternatives(root: Schema, value: unknown, place: string, depth = 0): Flat[] {
  const schema = checkedSchema(value, place);
  if (schema === true) return [{}];
  if (schema === false) return [];
  if (depth > depthMax) throw refusal('the schema', place, 'refers to itself without end');
  const own = Object.fromEntries(Object.entries(schema).filter(([name]) => !combinators.has(name) && !remarks.has(name)));
  let ways: Flat[] = [own];
  const and = (more: Flat[]) => {
    ways = ways.flatMap((a) => more.flatMap((b) => mergeFlat(a, b, place)));
    if (ways.length > alternativesMax) throw refusal('the schema', place, `has more than ${alternativesMax} alternatives`);
  };
  const listAt = (name: string) => {
    const list = schema[name];
    if (!Array.isArray(list) || list.length === 0) throw refusal(`\`${name}\``, place, 'must be a list of schemas');
    return (list as unknown[]).map((each, i) => alternatives(root, each, `${place}/${name}/${i}`, depth + 1));
  };
  if ('$ref' in schema) and(alternatives(root, resolveRef(root, schema['$ref'], place), String(schema['$ref']), depth + 1));
  if ('allOf' in schema) for (const each of listAt('allOf')) and(each);
  if ('anyOf' in schema) and(listAt('anyOf').flat());
  if ('oneOf' in schema) {
    const each = listAt('oneOf');
    refuseOverlap(each, `${place}/oneOf`);
    and(each.flat());
  }
  return ways;
}

/** A value of one alternative of `oneOf` must satisfy no other. */
export function refuseOverlap(each: readonly (readonly Flat[])[], place: string): void {
  for (const [i, a] of each.entries()) {
    for (const b of each.slice(i + 1)) {
      for (const x of a)
        for (const y of b)
          if (!excludes(x, y))
            throw refusal(
              '`oneOf`',
              place,
              'has alternatives that one value could satisfy: use anyOf, or tell them apart by a required constant',
            );
    }
  }
}

const kinds = ['null', 'boolean', 'object', 'array', 'number', 'integer', 'string'];

export function typesOf(schema: Flat): readonly string[] | null {
  const { type } = schema;
  if (type === undefined) return null;
  return Array.isArray(type) ? (type as string[]) : [type as string];
}

/** Whether no value that is made of one of the two satisfies the other. Objects are made closed, so that a name that one requires and the other lacks tells them apart. */
function excludes(a: Flat, b: Flat): boolean {
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)];
  if (valuesA !== null && valuesB !== null) return !valuesA.some((x) => valuesB.some((y) => isDeepStrictEqual(x, y)));
  const [typesA, typesB] = [typesOf(a) ?? kindsOfValues(valuesA), typesOf(b) ?? kindsOfValues(valuesB)];
  if (typesA === null || typesB === null) return false;
  const wide = (types: readonly string[]) => types.flatMap((type) => (type === 'number' ? ['number', 'integer'] : [type]));
  const common = wide(typesA).filter((type) => wide(typesB).includes(type));
  if (common.length === 0) return true;
  if (common.some((type) => type !== 'object')) return false;
  return apart(a, b) || (lacks(a, b) && lacks(b, a));
}

/** A property that one always has and the other does not take: required on either side. */
function apart(a: Flat, b: Flat): boolean {
  const [propertiesA, propertiesB] = [propertiesOf(a), propertiesOf(b)];
  return [...new Set([...requiredOf(a), ...requiredOf(b)])].some((name) => {
    const both = requiredOf(a).includes(name) && requiredOf(b).includes(name);
    const [x, y] = [propertiesA[name], propertiesB[name]];
    return both && typeof x === 'object' && typeof y === 'object' && !('$ref' in x) && !('$ref' in y) && excludes(x as Flat, y as Flat);
  });
}

/** `b` requires what an object made of `a` never has. */
function lacks(a: Flat, b: Flat): boolean {
  const isClosed = 'properties' in a && (a['additionalProperties'] ?? false) === false && !('patternProperties' in a);
  return isClosed && requiredOf(b).some((name) => !Object.hasOwn(propertiesOf(a), name) && !requiredOf(a).includes(name));
}

export const propertiesOf = (schema: Flat) => (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
export const requiredOf = (schema: Flat) => (schema['required'] ?? []) as readonly string[];

/** What `enum` and `const` leave; null: anything. */
export function valuesOf(schema: Flat): readonly unknown[] | null {
  if ('const' in schema) return [schema['const']];
  return Array.isArray(schema['enum']) ? (schema['enum'] as unknown[]) : null;
}

export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

const kindsOfValues = (values: readonly unknown[] | null) => values && [...new Set(values.map(kindOf))];

type Merge = (a: unknown, b: unknown) => unknown;
const larger: Merge = (a, b) => Math.max(a as number, b as number);
const smaller: Merge = (a, b) => Math.min(a as number, b as number);
const together: Merge = (a, b) => [...new Set([a, b].flat())];
const both = (a: Schema, b: Schema): Schema => (a === true ? b : b === true ? a : a === false || b === false ? false : { allOf: [a, b] });

const merges: Readonly<Record<string, Merge>> = {
  minimum: larger,
  exclusiveMinimum: larger,
  minLength: larger,
  minItems: larger,
  minProperties: larger,
  maximum: smaller,
  exclusiveMaximum: smaller,
  maxLength: smaller,
  maxItems: smaller,
  maxProperties: smaller,
  pattern: together,
  format: together,
  required: together,
};

/** What satisfies both; nothing where no value does. */
function mergeFlat(a: Flat, b: Flat, place: string): Flat[] {
  const merged: Record<string, unknown> = { ...a, ...b };
  for (const name of Object.keys(a)) {
    if (!(name in b) || isDeepStrictEqual(a[name], b[name])) continue;
    const merge = merges[name];
    if (merge !== undefined) merged[name] = merge(a[name], b[name]);
    else if (single.has(name)) throw refusal(`\`${name}\``, place, 'is given twice, and cannot be joined');
  }
  const types = mergeTypes(a, b);
  if (types !== null) {
    if (types.length === 0) return [];
    merged['type'] = types;
  }
  const values = mergeValues(valuesOf(a), valuesOf(b));
  if (values !== null) {
    if (values.length === 0) return [];
    delete merged['const'];
    merged['enum'] = values;
  }
  mergeObjects(a, b, merged, place);
  mergeArrays(a, b, merged);
  return [merged];
}

/** Keywords that two schemas can only have in common. */
const single: ReadonlySet<string> = new Set(['multipleOf', 'patternProperties', 'propertyNames', 'unevaluatedProperties']);

function mergeTypes(a: Flat, b: Flat): readonly string[] | null {
  const [x, y] = [typesOf(a), typesOf(b)];
  if (x === null || y === null) return x ?? y;
  const wide = (types: readonly string[]) => (types.includes('number') ? [...types, 'integer'] : types);
  return wide(x).filter((type, i, all) => wide(y).includes(type) && all.indexOf(type) === i);
}

function mergeValues(a: readonly unknown[] | null, b: readonly unknown[] | null): readonly unknown[] | null {
  if (a === null || b === null) return a ?? b;
  return a.filter((x) => b.some((y) => isDeepStrictEqual(x, y)));
}

function mergeObjects(a: Flat, b: Flat, merged: Record<string, unknown>, place: string): void {
  const names = ['properties', 'additionalProperties'];
  if (!names.some((name) => name in a) || !names.some((name) => name in b)) return;
  if ('patternProperties' in a || 'patternProperties' in b)
    throw refusal('`patternProperties`', place, 'cannot be joined with other properties');
  const restOf = (schema: Flat) => (schema['additionalProperties'] ?? true) as Schema;
  const of = (schema: Flat, name: string): Schema =>
    Object.hasOwn(propertiesOf(schema), name) ? propertiesOf(schema)[name]! : restOf(schema);
  const all = new Set([...Object.keys(propertiesOf(a)), ...Object.keys(propertiesOf(b))]);
  merged['properties'] = Object.fromEntries([...all].map((name) => [name, both(of(a, name), of(b, name))]));
  if ('additionalProperties' in a || 'additionalProperties' in b) merged['additionalProperties'] = both(restOf(a), restOf(b));
}

function mergeArrays(a: Flat, b: Flat, merged: Record<string, unknown>): void {
  const names = ['items', 'prefixItems', 'additionalItems'];
  if (!names.some((name) => name in a) || !names.some((name) => name in b)) return;
  const [x, y] = [itemsOf(a), itemsOf(b)];
  const count = Math.max(x.prefix.length, y.prefix.length);
  const at = ({ prefix, rest }: Items, i: number) => prefix[i] ?? rest ?? true;
  delete merged['additionalItems'];
  merged['prefixItems'] = Array.from({ length: count }, (_, i) => both(at(x, i), at(y, i)));
  if (x.rest === null && y.rest === null) delete merged['items'];
  else merged['items'] = both(x.rest ?? true, y.rest ?? true);
}

export interface Items {
  readonly prefix: readonly Schema[];
  /** null: nothing is said of those behind the prefix. */
  readonly rest: Schema | null;
}

/** `items` as a list, with `additionalItems`, is how older drafts wrote `prefixItems`. */
export function itemsOf(schema: Flat): Items {
  const { items, prefixItems, additionalItems } = schema;
  if (Array.isArray(items)) return { prefix: items as Schema[], rest: (additionalItems ?? null) as Schema | null };
  return { prefix: (prefixItems ?? []) as readonly Schema[], rest: (items ?? null) as Schema | null };
}

export const allKinds: readonly string[] = kinds;
