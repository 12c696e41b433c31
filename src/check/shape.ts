/** Where a value has another shape than is documented, or than another value has. */
import { isObject } from '../api/json-object.js';
import type { Schema } from '../api/schema.js';

export interface Difference {
  /** "choices[].message.annotations" */
  readonly path: string;
  /** What is there, and what should be. */
  readonly what: string;
}

/** Every place where `value` is not as `schema` documents it; each once, whatever the index. */
export function documentedDifferences(schema: Schema, value: unknown): Difference[] {
  return unique(against(schema, value, ''));
}

function against(schema: Schema, value: unknown, path: string): Difference[] {
  if (schema.anyOf !== undefined) return againstChoices(schema, schema.anyOf, value, path);
  if (!isOfType(schema, value)) return [{ path, what: `${shown(value)}, where ${documented(schema)} is documented` }];
  if (Array.isArray(value)) return schema.items === undefined ? [] : value.flatMap((item) => against(schema.items!, item, `${path}[]`));
  if (!isObject(value)) return [];
  const { properties = {}, required = [], additionalProperties: others } = schema;
  const missing = required.filter((name) => !Object.hasOwn(value, name));
  const known = Object.keys(value).filter((name) => Object.hasOwn(properties, name));
  const other = Object.keys(value).filter((name) => !Object.hasOwn(properties, name));
  return [
    ...missing.map((name) => ({ path: below(path, name), what: `missing, where ${documented(properties[name]!)} is documented` })),
    ...known.flatMap((name) => against(properties[name]!, value[name], below(path, name))),
    ...(typeof others === 'object' ? other.flatMap((name) => against(others, value[name], `${path}{}`)) : []),
  ];
}

function againstChoices(schema: Schema, choices: readonly Schema[], value: unknown, path: string): Difference[] {
  const fitting = choices.filter((choice) => isOfType(choice, value));
  if (fitting.length === 0) return [{ path, what: `${shown(value)}, where ${documented(schema)} is documented` }];
  const tried = fitting.map((choice) => against(choice, value, path));
  return tried.find((differences) => differences.length === 0) ?? tried[0]!;
}

function isOfType({ type, enum: words }: Schema, value: unknown): boolean {
  if (words !== undefined) return (words as readonly unknown[]).includes(value);
  return type === undefined || type === typeOf(value) || (type === 'number' && typeOf(value) === 'integer');
}

function typeOf(value: unknown): NonNullable<Schema['type']> {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value as 'string' | 'boolean' | 'object';
}

const typeWords = {
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'a boolean',
  array: 'a list',
  object: 'an object',
  null: 'null',
} as const;

function documented({ type, enum: words, anyOf: choices }: Schema): string {
  if (choices !== undefined) return choices.map(documented).join(' or ');
  if (words !== undefined) return words.map((word) => JSON.stringify(word)).join(' or ');
  return type === undefined ? 'a value' : typeWords[type];
}

const wordLenMax = 40;
const shown = (value: unknown) =>
  typeof value === 'string' && value.length <= wordLenMax ? JSON.stringify(value) : typeWords[typeOf(value)];

const below = (path: string, name: string) => (path === '' ? name : `${path}.${name}`);

export function unique(differences: readonly Difference[]): Difference[] {
  return [...new Map(differences.map((difference) => [`${difference.path} ${difference.what}`, difference])).values()];
}

/** There or not, null or not, as the text of the answer has it: no difference of shape. */
const asTheTextHasIt = /(^|\.)(content|reasoning|reasoning_content|refusal|tool_calls|finish_reason|stop_reason|text|output)$/;
/** Its keys are tokens. */
const isTokenMap = (path: string) => /top_logprobs\[\]$|prompt_logprobs\[\]$/.test(path);

/** Where `value` lacks what `reference` has, or has another type. What it has besides harms nobody. */
export function differencesFrom(reference: unknown, value: unknown, path = ''): Difference[] {
  const [wanted, found] = [typeOf(reference), typeOf(value)];
  if (wanted === 'null') return []; // what else it may be is not known
  if (isTokenMap(path) && wanted === 'object' && found === 'object') return [];
  if (wanted === 'array' && found === 'array') {
    const [first] = reference as readonly unknown[];
    return first === undefined ? [] : unique((value as readonly unknown[]).flatMap((item) => differencesFrom(first, item, `${path}[]`)));
  }
  if (isObject(reference) && isObject(value)) {
    return Object.keys(reference).flatMap((name) => {
      const place = below(path, name);
      if (Object.hasOwn(value, name)) return differencesFrom(reference[name], value[name], place);
      return reference[name] === null || asTheTextHasIt.test(place)
        ? []
        : [{ path: place, what: `missing, where ${typeWords[typeOf(reference[name])]} is` }];
    });
  }
  const isNumeric = (type: string) => type === 'integer' || type === 'number';
  if (wanted === found || (isNumeric(wanted) && isNumeric(found)) || asTheTextHasIt.test(path)) return [];
  return [{ path, what: `${typeWords[found]}, where ${typeWords[wanted]} is` }];
}
