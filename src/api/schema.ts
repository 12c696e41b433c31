/**
 * What a JSON value may be: the part of JSON Schema (2020-12) that the bodies of the API need. One object is checked against here, shown by
 * /openapi.json and named in the README, so that the three agree.
 */
import { isObject, type JsonObject } from './json-object.js';

export interface Schema {
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object' | 'null';
  readonly enum?: readonly (string | number | boolean | null)[];
  /** Only in documents. */
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** false: other properties are refused. */
  readonly additionalProperties?: boolean | Schema;
  /** Names the value in documents, and in errors after "must be". */
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
}

export const anything: Schema = {};
export const string: Schema = { type: 'string' };
export const integer: Schema = { type: 'integer' };
export const number: Schema = { type: 'number' };
export const boolean: Schema = { type: 'boolean' };
export const nothing: Schema = { type: 'null' };
export const anyObject: Schema = { type: 'object' };

export const anyOf = (...choices: readonly Schema[]): Schema => ({ anyOf: choices });
export const nullable = (schema: Schema): Schema => (schema === anything ? anything : anyOf(schema, nothing));
export const oneWord = (...words: readonly string[]): Schema => ({ type: 'string', enum: words });
export const list = (items: Schema, limits: Pick<Schema, 'title' | 'minItems' | 'maxItems'> = {}): Schema => ({
  type: 'array',
  items,
  ...limits,
});
export const mapOf = (values: Schema): Schema => ({ type: 'object', additionalProperties: values });

/** An object with exactly these properties. `optional` ones may be left out or null; `open` lets others pass. */
export function object(
  required: Readonly<Record<string, Schema>>,
  optional: Readonly<Record<string, Schema>> = {},
  { open = false }: { readonly open?: boolean } = {},
): Schema {
  const rest = Object.fromEntries(Object.entries(optional).map(([name, schema]) => [name, nullable(schema)]));
  const names = Object.keys(required);
  return {
    type: 'object',
    properties: { ...required, ...rest },
    ...(names.length === 0 ? {} : { required: names }),
    ...(open ? {} : { additionalProperties: false }),
  };
}

/** Where a value is not as its schema says, and what it should be there; `expected` null: a property that nobody knows. */
export interface Fault {
  readonly path: readonly (string | number)[];
  readonly expected: string | null;
}

/** The first fault, or null. `lenient` lets unknown properties pass. Its depth is the schema's, not the value's. */
export function findFault(schema: Schema, value: unknown, lenient = false): Fault | null {
  if (schema.anyOf !== undefined) return faultOfChoices(schema, schema.anyOf, value, lenient);
  if (!isWithin(schema, value)) return { path: [], expected: wordsFor(schema) };
  if (Array.isArray(value)) return schema.items === undefined ? null : faultOfItems(schema.items, value, lenient);
  return isObject(value) && schema.type === 'object' ? faultOfProperties(schema, value, lenient) : null;
}

function isWithin(schema: Schema, value: unknown): boolean {
  if (schema.enum !== undefined && !(schema.enum as readonly unknown[]).includes(value)) return false;
  switch (schema.type) {
    case 'integer':
      return Number.isInteger(value) && isInRange(schema, value as number);
    case 'number':
      return typeof value === 'number' && isInRange(schema, value);
    case 'string':
      return typeof value === 'string' && value.length >= (schema.minLength ?? 0) && value.length <= (schema.maxLength ?? value.length);
    case 'array':
      return Array.isArray(value) && value.length >= (schema.minItems ?? 0) && value.length <= (schema.maxItems ?? value.length);
    case 'object':
      return isObject(value);
    case 'null':
      return value === null;
    case 'boolean':
      return typeof value === 'boolean';
    default:
      return true;
  }
}

type Range = Pick<Schema, 'minimum' | 'maximum' | 'exclusiveMinimum'>;

export function isInRange({ minimum, maximum, exclusiveMinimum }: Range, value: number): boolean {
  if (minimum !== undefined && value < minimum) return false;
  if (maximum !== undefined && value > maximum) return false;
  return exclusiveMinimum === undefined || value > exclusiveMinimum;
}

function faultOfItems(items: Schema, values: readonly unknown[], lenient: boolean): Fault | null {
  for (let i = 0; i < values.length; i++) {
    const fault = findFault(items, values[i], lenient);
    if (fault !== null) return { path: [i, ...fault.path], expected: fault.expected };
  }
  return null;
}

function faultOfProperties({ properties, required, additionalProperties }: Schema, value: JsonObject, lenient: boolean): Fault | null {
  for (const name of required ?? []) {
    if (!Object.hasOwn(value, name)) return { path: [name], expected: wordsFor(properties?.[name] ?? anything) };
  }
  for (const name of Object.keys(value)) {
    const known = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
    const schema = known ?? (additionalProperties === undefined || additionalProperties === true ? anything : additionalProperties);
    if (schema === false && lenient) continue;
    const fault = schema === false ? { path: [], expected: null } : findFault(schema, value[name], lenient);
    if (fault !== null) return { path: [name, ...fault.path], expected: fault.expected };
  }
  return null;
}

/** Of the choices that do not fit, the one that fits furthest tells what is wrong. */
function faultOfChoices(schema: Schema, choices: readonly Schema[], value: unknown, lenient: boolean): Fault | null {
  const typed = isObject(value) ? choicesOfType(choices, value['type']) : choices;
  if (typed.length === 0) return { path: ['type'], expected: wordsFor(oneWord(...choices.flatMap(typesOf))) };
  let furthest: Fault | null = null;
  for (const choice of typed) {
    const fault = findFault(choice, value, lenient);
    if (fault === null) return null;
    if (furthest === null || isFurther(fault.path, furthest.path)) furthest = fault;
  }
  return furthest === null || furthest.path.length === 0 ? { path: [], expected: wordsFor(schema) } : furthest;
}

/** Where every choice is an object that says its type, a value that says one is held against those of that type alone. */
function choicesOfType(choices: readonly Schema[], type: unknown): readonly Schema[] {
  if (typeof type !== 'string' || !choices.every((choice) => typesOf(choice).length > 0)) return choices;
  return choices.filter((choice) => typesOf(choice).includes(type));
}

function typesOf({ properties }: Schema): string[] {
  const { enum: words, anyOf: choices } = properties?.['type'] ?? {};
  return (words ?? choices?.flatMap((choice) => choice.enum ?? []) ?? []).filter((word) => typeof word === 'string');
}

function isFurther(path: Fault['path'], than: Fault['path']): boolean {
  for (let i = 0; i < path.length; i++) {
    const [here, there] = [path[i]!, than[i]];
    if (there === undefined || (typeof here === 'number' && typeof there === 'number' && here > there)) return true;
    if (here !== there) return false;
  }
  return false;
}

/** What a value must be, in words that follow "must be". */
export function wordsFor(schema: Schema): string {
  if (schema.title !== undefined) return schema.title;
  if (schema.enum !== undefined) return `one of ${schema.enum.map((value) => JSON.stringify(value)).join(', ')}`;
  if (schema.anyOf !== undefined) {
    const choices = schema.anyOf.filter(({ type }) => type !== 'null');
    return choices.map(wordsFor).join(' or ');
  }
  switch (schema.type) {
    case 'boolean':
      return 'true or false';
    case 'array':
      return schema.items === undefined
        ? 'a list'
        : `a list${rangeOf(schema.minItems, schema.maxItems)}, each item ${wordsFor(schema.items)}`;
    case 'string':
      return `a string${rangeOf(schema.minLength, schema.maxLength, ' characters')}`;
    case 'integer':
    case 'number':
      return `${schema.type === 'integer' ? 'an integer' : 'a number'}${rangeWords(schema)}`;
    case 'object':
      return 'an object';
    case 'null':
      return 'null';
    default:
      return 'given';
  }
}

const rangeOf = (least: number | undefined, most: number | undefined, unit = '') => {
  if (least === undefined && most === undefined) return '';
  return most === undefined ? ` of at least ${least}${unit}` : ` of ${least ?? 0} to ${most}${unit}`;
};

function rangeWords({ minimum, maximum, exclusiveMinimum }: Range): string {
  const words = [
    ...(minimum === undefined ? [] : [`at least ${minimum}`]),
    ...(exclusiveMinimum === undefined ? [] : [`above ${exclusiveMinimum}`]),
    ...(maximum === undefined ? [] : [`at most ${maximum}`]),
  ];
  return words.length === 0 ? '' : `, ${words.join(' and ')}`;
}
