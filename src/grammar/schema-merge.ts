/**
 * JSON Schemas that are flat: keywords of one value, without references and combinators, and how two of them are joined. What cannot be
 * promised is refused by its name and place.
 */
import { isDeepStrictEqual } from 'node:util';
import { LockstepError } from '../errors.js';

/** Beside the standard's keywords, `not` holds an `Excluded` and `contains` a `Contained`. */
export type Flat = Readonly<Record<string, unknown>>;
export type Schema = Flat | boolean;

/** What a value must not be, where no keyword says it. */
export interface Excluded {
  readonly values: readonly unknown[];
  /** A string in which one of them is found. */
  readonly patterns: readonly string[];
  /** Numbers without a fraction. */
  readonly integers: boolean;
}

/** `most` may be infinite. */
export interface Contained {
  readonly schema: Schema;
  readonly least: number;
  readonly most: number;
}

export const refusal = (what: string, place: string, why = 'is not supported') =>
  new LockstepError('invalid_value', `The JSON schema cannot be kept: ${what} at ${place} ${why}.`);

export const isSchema = (value: unknown): value is Schema =>
  typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value));

export const allKinds: readonly string[] = ['null', 'boolean', 'object', 'array', 'number', 'integer', 'string'];

/** What limits values of one kind. */
export const keywordsOf: Readonly<Record<string, readonly string[]>> = {
  object: [
    'properties',
    'required',
    'additionalProperties',
    'patternProperties',
    'propertyNames',
    'minProperties',
    'maxProperties',
    'unevaluatedProperties',
  ],
  array: ['items', 'prefixItems', 'additionalItems', 'unevaluatedItems', 'minItems', 'maxItems', 'contains', 'uniqueItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

export function typesOf(schema: Flat): readonly string[] | null {
  const { type } = schema;
  if (type === undefined) return null;
  return Array.isArray(type) ? (type as string[]) : [type as string];
}

export const propertiesOf = (schema: Flat) => (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
export const requiredOf = (schema: Flat) => (schema['required'] ?? []) as readonly string[];
export const excludedOf = (schema: Flat) => (schema['not'] ?? null) as Excluded | null;

/** Whether properties are named that it may have. Then others are left out unless something is said of them. */
export const namesProperties = (schema: Flat): boolean => Object.values(propertiesOf(schema)).some((value) => value !== false);

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

type Merge = (a: unknown, b: unknown) => unknown;
const larger: Merge = (a, b) => Math.max(a as number, b as number);
const smaller: Merge = (a, b) => Math.min(a as number, b as number);
const together: Merge = (a, b) => [...new Set([a, b].flat())];
export const both = (a: Schema, b: Schema): Schema =>
  a === true ? b : b === true ? a : a === false || b === false ? false : { allOf: [a, b] };

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
  uniqueItems: (a, b) => a === true || b === true,
  not: (a, b) => joinExcluded(a as Excluded, b as Excluded),
};

const joinExcluded = (a: Excluded, b: Excluded): Excluded => ({
  values: [...a.values, ...b.values],
  patterns: [...a.patterns, ...b.patterns],
  integers: a.integers || b.integers,
});

/** What satisfies both; nothing where no value does. */
export function mergeFlat(a: Flat, b: Flat, place: string): Flat[] {
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
const single: ReadonlySet<string> = new Set(['multipleOf', 'patternProperties', 'propertyNames', 'unevaluatedProperties', 'contains']);

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
  const names = ['items', 'prefixItems', 'additionalItems', 'unevaluatedItems'];
  if (!names.some((name) => name in a) || !names.some((name) => name in b)) return;
  const [x, y] = [itemsOf(a), itemsOf(b)];
  const count = Math.max(x.prefix.length, y.prefix.length);
  const at = ({ prefix, rest }: Items, i: number) => prefix[i] ?? rest ?? true;
  delete merged['additionalItems'];
  delete merged['unevaluatedItems'];
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
  const { items, prefixItems, additionalItems, unevaluatedItems } = schema;
  const unsaid = unevaluatedItems === false ? false : null;
  if (Array.isArray(items)) return { prefix: items as Schema[], rest: (additionalItems ?? unsaid) as Schema | null };
  return { prefix: (prefixItems ?? []) as readonly Schema[], rest: (items ?? unsaid) as Schema | null };
}
