/** Values that a schema lists, against what else it says of them. */
import { isDeepStrictEqual } from 'node:util';
import { accepts } from './char-dfa.js';
import { formatDfa, unservedFormats } from './formats.js';
import { excludedOf, type Flat, keywordsOf, kindOf, refusal, typesOf } from './schema-merge.js';

/** Whether a value of `enum` or `const` surely keeps the rest of a flat schema. */
export function keepsRest(value: unknown, schema: Flat, place: string): boolean {
  const types = typesOf(schema);
  const kind = kindOf(value);
  if (types !== null && !types.includes(kind) && !(kind === 'integer' && types.includes('number'))) return false;
  const excluded = excludedOf(schema);
  if (excluded !== null) {
    if (excluded.values.some((each) => isDeepStrictEqual(each, value)) || (excluded.integers && kind === 'integer')) return false;
    if (typeof value === 'string' && excluded.patterns.some((pattern) => regExp(pattern, place).test(value))) return false;
  }
  if (typeof value === 'number')
    return keywordsOf['number']!.every((name) => !(name in schema) || keepsNumber(value, name, schema[name], place));
  if (typeof value === 'string')
    return keywordsOf['string']!.every((name) => !(name in schema) || keepsText(value, name, schema[name], place));
  const limit = keywordsOf[kind]?.find((name) => name in schema);
  if (limit !== undefined) throw refusal(`\`${limit}\` beside an ${kind} in \`enum\` or \`const\``, place);
  return true;
}

function keepsNumber(value: number, name: string, given: unknown, place: string): boolean {
  if (typeof given !== 'number') throw refusal(`\`${name}\``, place, 'must be a number');
  switch (name) {
    case 'minimum':
      return value >= given;
    case 'maximum':
      return value <= given;
    case 'exclusiveMinimum':
      return value > given;
    case 'exclusiveMaximum':
      return value < given;
    default:
      if (!Number.isInteger(given) || given < 1) throw refusal(`\`${name}\``, place, 'must be an integer, at least 1');
      return value % given === 0;
  }
}

function keepsText(value: string, name: string, given: unknown, place: string): boolean {
  switch (name) {
    case 'minLength':
      return [...value].length >= Number(given);
    case 'maxLength':
      return [...value].length <= Number(given);
    case 'pattern':
      return [given].flat().every((pattern) => regExp(String(pattern), place).test(value));
    default:
      return [given].flat().every((format) => hasFormat(value, String(format), place));
  }
}

function hasFormat(value: string, format: string, place: string): boolean {
  if (unservedFormats.has(format)) throw refusal(`\`format\` ${format}`, place);
  const dfa = formatDfa(format);
  return dfa === null || accepts(dfa, value);
}

function regExp(pattern: string, place: string): RegExp {
  try {
    return new RegExp(pattern, 'u');
  } catch {
    throw refusal(`\`pattern\` ${JSON.stringify(pattern)}`, place, 'is no regular expression');
  }
}
