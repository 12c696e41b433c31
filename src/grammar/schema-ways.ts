/**
 * JSON Schemas as lists of flat ones: a value that satisfies one of `alternatives` satisfies the schema, and one that satisfies one of
 * `negations` does not. So references and combinators, `not` and `if` are gone. Some values may be in neither list.
 */
import { LockstepError } from '../errors.js';
import { areDisjoint } from './schema-disjoint.js';
import {
  allKinds,
  type Contained,
  type Excluded,
  type Flat,
  isSchema,
  mergeFlat,
  propertiesOf,
  refusal,
  requiredOf,
  type Schema,
  typesOf,
} from './schema-merge.js';

const unserved: ReadonlySet<string> = new Set(['$dynamicRef', '$recursiveRef']);
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
const combinators: ReadonlySet<string> = new Set([
  '$ref',
  'allOf',
  'anyOf',
  'oneOf',
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
]);

/** Ways to satisfy one schema, after its combinators are multiplied out. */
const alternativesMax = 500;
const depthMax = 64;

/** Throws where a schema should be and is none, and for keywords that are not served. */
export function checkedSchema(value: unknown, place: string): Schema {
  if (!isSchema(value)) throw refusal('the value', place, 'is no schema');
  if (typeof value === 'boolean') return value;
  for (const [name, given] of Object.entries(value)) {
    if (unserved.has(name) || (name === 'unevaluatedItems' && typeof given !== 'boolean')) throw refusal(`\`${name}\``, place);
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

/** Keywords of which a negation leaves values out that are never made only to break them: properties that no schema names. */
const unnamed: ReadonlySet<string> = new Set(['additionalProperties', 'unevaluatedProperties']);

/** A list of alternatives, and whether it has all values that satisfy the schema. */
interface Part {
  readonly ways: readonly Flat[];
  readonly isWhole: boolean;
}

/** The ways of one document's schemas. */
export class SchemaWays {
  readonly #root: Schema;
  /** No value was left out of a list since this was last set. */
  #isWhole = true;

  constructor(root: Schema) {
    this.#root = root;
  }

  alternatives(value: unknown, place: string, depth = 0): Flat[] {
    const schema = checkedSchema(value, place);
    if (schema === true) return [{}];
    if (schema === false) return [];
    checkDepth(depth, place);
    const own = Object.fromEntries(Object.entries(schema).filter(([name]) => !combinators.has(name) && !remarks.has(name)));
    const contained = containedOf(schema, place);
    let ways: Flat[] = [contained === null ? own : { ...own, contains: contained }];
    const and = (more: Flat[]) => {
      ways = product(ways, more, place);
    };
    const inner = (name: string) => this.alternatives(schema[name] ?? true, `${place}/${name}`, depth + 1);
    const each = (name: string) => schemasAt(schema, name, place).map(([one, at]) => this.alternatives(one, at, depth + 1));
    if ('$ref' in schema) and(this.alternatives(resolveRef(this.#root, schema['$ref'], place), String(schema['$ref']), depth + 1));
    if ('allOf' in schema) for (const one of each('allOf')) and(one);
    if ('anyOf' in schema) and(each('anyOf').flat());
    if ('oneOf' in schema) and(this.#exactlyOne(schemasAt(schema, 'oneOf', place), place, depth));
    if ('not' in schema) and(this.negations(schema['not'], `${place}/not`, depth + 1));
    if ('if' in schema && ('then' in schema || 'else' in schema)) {
      const otherwise = product(this.negations(schema['if'], `${place}/if`, depth + 1), inner('else'), place);
      and([...product(inner('if'), inner('then'), place), ...otherwise]);
    }
    for (const [name, required, then] of dependenciesOf(schema, place)) {
      const given = product([{ required: [name, ...required] }], this.alternatives(then, `${place}/dependentSchemas`, depth + 1), place);
      and([{ properties: { [name]: false } }, ...given]);
    }
    return ways;
  }

  /** Whether no value that is made of one of these schemas satisfies another one. */
  areApart(list: readonly PlacedSchema[]): boolean {
    const parts = list.map(([one, at]) => this.#part(one, at, 0));
    return parts.every(({ isWhole }) => isWhole) && areDisjoint(parts.map(({ ways }) => ways));
  }

  #part(value: unknown, place: string, depth: number): Part {
    const before = this.#isWhole;
    this.#isWhole = true;
    const part = { ways: this.alternatives(value, place, depth), isWhole: this.#isWhole };
    this.#isWhole &&= before;
    return part;
  }

  /** Of those that could hold at once, each without the others. */
  #exactlyOne(list: readonly PlacedSchema[], place: string, depth: number): Flat[] {
    const parts = list.map(([one, at]) => this.#part(one, at, depth + 1));
    try {
      return parts.flatMap(({ ways }, i) => {
        const others = list.filter((_, j) => j !== i && !(parts[j]!.isWhole && areDisjoint([ways, parts[j]!.ways])));
        return others.reduce((left, [other, at]) => product(left, this.negations(other, at, depth + 1), place), [...ways]);
      });
    } catch (cause) {
      if (!(cause instanceof LockstepError)) throw cause;
      const why = 'has alternatives that one value could satisfy: use anyOf, or tell them apart by a required constant';
      throw refusal('`oneOf`', place, why);
    }
  }

  negations(value: unknown, place: string, depth = 0): Flat[] {
    const schema = checkedSchema(value, place);
    if (schema === true) return [];
    if (schema === false) return [{}];
    checkDepth(depth, place);
    return bounded(
      Object.keys(schema).flatMap((name) => this.#negationsOf(name, schema, place, depth)),
      place,
    );
  }

  /** What does not keep one keyword. */
  #negationsOf(name: string, schema: Flat, place: string, depth: number): Flat[] {
    const no = (value: unknown, at: string) => this.negations(value, at, depth + 1);
    const given = schema[name];
    switch (name) {
      case '$ref':
        return no(resolveRef(this.#root, given, place), String(given));
      case 'allOf':
        return schemasAt(schema, name, place).flatMap(([one, at]) => no(one, at));
      case 'anyOf':
      case 'oneOf':
        // Two of oneOf could hold as well.
        this.#isWhole &&= name === 'anyOf';
        return schemasAt(schema, name, place).reduce<Flat[]>((ways, [one, at]) => product(ways, no(one, at), place), [{}]);
      case 'not':
        return this.alternatives(given, `${place}/not`, depth + 1);
      case 'if': {
        const [then, otherwise] = [no(schema['then'] ?? true, `${place}/then`), no(schema['else'] ?? true, `${place}/else`)];
        const holds = then.length === 0 ? [] : product(this.alternatives(given, `${place}/if`, depth + 1), then, place);
        return otherwise.length === 0 ? holds : [...holds, ...product(no(given, `${place}/if`), otherwise, place)];
      }
      default:
        if (unnamed.has(name) && given !== true) this.#isWhole = false;
        return negatedKeyword(name, schema, place);
    }
  }
}

function checkDepth(depth: number, place: string): void {
  if (depth > depthMax) throw refusal('the schema', place, 'refers to itself without end');
}

function product(a: readonly Flat[], b: readonly Flat[], place: string): Flat[] {
  return bounded(
    a.flatMap((x) => b.flatMap((y) => mergeFlat(x, y, place))),
    place,
  );
}

function bounded(ways: Flat[], place: string): Flat[] {
  if (ways.length > alternativesMax) throw refusal('the schema', place, `has more than ${alternativesMax} alternatives`);
  return ways;
}

type PlacedSchema = readonly [schema: unknown, place: string];

function schemasAt(schema: Flat, name: string, place: string): PlacedSchema[] {
  const list = schema[name];
  if (!Array.isArray(list) || list.length === 0) throw refusal(`\`${name}\``, place, 'must be a list of schemas');
  return (list as unknown[]).map((each, i) => [each, `${place}/${name}/${i}`] as const);
}

function containedOf(schema: Flat, place: string): Contained | null {
  if (!('contains' in schema)) return null;
  const { contains, minContains = 1, maxContains = Number.POSITIVE_INFINITY } = schema;
  const isCount = (value: unknown) => value === Number.POSITIVE_INFINITY || (Number.isInteger(value) && (value as number) >= 0);
  if (!isCount(minContains) || !isCount(maxContains))
    throw refusal('`minContains` or `maxContains`', place, 'must be an integer, at least 0');
  if (minContains === 0 && maxContains === Number.POSITIVE_INFINITY) return null;
  return { schema: checkedSchema(contains, `${place}/contains`), least: minContains as number, most: maxContains as number };
}

/** Name of a property, and where it is there: what else is required, and what must hold. */
function dependenciesOf(schema: Flat, place: string): [name: string, required: readonly string[], then: unknown][] {
  const found: [string, readonly string[], unknown][] = [];
  for (const keyword of ['dependentRequired', 'dependentSchemas', 'dependencies']) {
    const given = schema[keyword] ?? {};
    if (typeof given !== 'object' || Array.isArray(given)) throw refusal(`\`${keyword}\``, place, 'must be an object');
    for (const [name, value] of Object.entries(given)) {
      if (Array.isArray(value)) found.push([name, value as string[], true]);
      else found.push([name, [], value]);
    }
  }
  return found;
}

const without = (excluded: Partial<Excluded>): Flat => ({ not: { values: [], patterns: [], integers: false, ...excluded } });

/** Values that break one keyword of a flat schema; nothing for what cannot be broken, or only in a way that is never made. */
function negatedKeyword(name: string, schema: Flat, place: string): Flat[] {
  const given = schema[name];
  const count = given as number;
  switch (name) {
    case 'type':
      return otherTypes(typesOf(schema)!, place);
    case 'const':
      return [without({ values: [given] })];
    case 'enum':
      if (!Array.isArray(given)) throw refusal('`enum`', place, 'must be a list');
      return [without({ values: given })];
    case 'properties':
      return Object.entries(propertiesOf(schema)).map(([key, value]) => {
        return { type: ['object'], required: [key], properties: { [key]: typeof value === 'boolean' ? !value : { not: value } } };
      });
    case 'required':
      if (!Array.isArray(given)) throw refusal('`required`', place, 'must be a list of names');
      return requiredOf(schema).map((key) => ({ type: ['object'], properties: { [key]: false } }));
    case 'minLength':
      return count > 0 ? [{ type: ['string'], maxLength: count - 1 }] : [];
    case 'maxLength':
      return [{ type: ['string'], minLength: count + 1 }];
    case 'pattern':
      return [{ type: ['string'], ...without({ patterns: [String(given)] }) }];
    case 'minimum':
      return [{ type: ['number'], exclusiveMaximum: given }];
    case 'exclusiveMinimum':
      return [{ type: ['number'], maximum: given }];
    case 'maximum':
      return [{ type: ['number'], exclusiveMinimum: given }];
    case 'exclusiveMaximum':
      return [{ type: ['number'], minimum: given }];
    case 'minItems':
      return count > 0 ? [{ type: ['array'], maxItems: count - 1 }] : [];
    case 'maxItems':
      return [{ type: ['array'], minItems: count + 1 }];
    case 'items':
      if ('prefixItems' in schema || Array.isArray(given)) throw unbroken(name, place);
      return given === true ? [] : [{ type: ['array'], contains: { schema: { not: given }, least: 1, most: Number.POSITIVE_INFINITY } }];
    case 'contains':
      if ('minContains' in schema || 'maxContains' in schema) throw unbroken(name, place);
      return [{ type: ['array'], items: { not: given } }];
    case 'minProperties':
      return count > 0 ? [{ type: ['object'], maxProperties: count - 1 }] : [];
    case 'maxProperties':
      return [{ type: ['object'], minProperties: count + 1 }];
    default:
      if (!withoutNegation.has(name) || given === (name !== 'uniqueItems')) return [];
      throw unbroken(name, place);
  }
}

const unbroken = (name: string, place: string) => refusal(`\`${name}\` within \`not\`, or that an \`if\` or \`oneOf\` must break,`, place);

const withoutNegation: ReadonlySet<string> = new Set([
  'prefixItems',
  'additionalItems',
  'unevaluatedItems',
  'uniqueItems',
  'patternProperties',
  'propertyNames',
  'dependentRequired',
  'dependentSchemas',
  'dependencies',
  'format',
  'multipleOf',
]);

function otherTypes(types: readonly string[], place: string): Flat[] {
  const unknown = types.find((type) => !allKinds.includes(type));
  if (unknown !== undefined) throw refusal(`\`type\` ${JSON.stringify(unknown)}`, place);
  const others = allKinds.filter((type) => type !== 'number' && type !== 'integer' && !types.includes(type));
  if (types.includes('number')) return others.length === 0 ? [] : [{ type: others }];
  if (!types.includes('integer')) return [{ type: [...others, 'number'] }];
  return [...(others.length === 0 ? [] : [{ type: others }]), { type: ['number'], ...without({ integers: true }) }];
}
