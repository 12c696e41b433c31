/**
 * JSON Schema -> rules whose every text is a value that satisfies it. Not every such value: properties come in the schema's order, objects
 * and tuples are closed where nothing else is said, numbers have a bounded number of digits, and strings with limits are written in one way.
 */

import { intersectDfas } from './char-dfa.js';
import { formatPatterns, unservedFormats } from './formats.js';
import { type Bound, checkMultiple, numberDfa } from './json-numbers.js';
import { JsonText, type StringLimits, stringDfa } from './json-text.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import {
  allKinds,
  alternatives,
  checkedSchema,
  type Flat,
  isOnly,
  itemsOf,
  kindOf,
  propertiesOf,
  refusal,
  refuseOverlap,
  requiredOf,
  resolveRef,
  type Schema,
  typesOf,
  valuesOf,
} from './schema-merge.js';
import type { JsonSchemaSpec } from './spec.js';

/** Characters of a schema as JSON. */
export const schemaCharsMax = 512 * 1024;
/** Schemas within schemas. */
const nestingMax = 128;

export function jsonSchema(rules: Rules, { schema, whitespace, closedObjects }: JsonSchemaSpec): Piece {
  const size = JSON.stringify(schema)?.length ?? 0;
  if (size > schemaCharsMax) throw refusal('the whole', '#', `has ${size} characters, and at most ${schemaCharsMax} are allowed`);
  const compiler = new SchemaCompiler(rules, checkedSchema(schema, '#'), new JsonText(rules, whitespace ?? 'any'), closedObjects ?? true);
  return compiler.piece(schema, '#');
}

const keywordsOf: Readonly<Record<string, readonly string[]>> = {
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
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

class SchemaCompiler {
  /** Rules by the text of their schema: what is said twice is made once, and recursion comes back to its rule. */
  readonly #known = new Map<string, Piece>();
  #depth = 0;

  constructor(
    readonly rules: Rules,
    readonly root: Schema,
    readonly json: JsonText,
    readonly closed: boolean,
  ) {}

  piece(value: unknown, place: string): Piece {
    const schema = checkedSchema(value, place);
    if (schema === true) return this.json.value;
    if (schema === false) return this.rules.either();
    const name = JSON.stringify(schema);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (++this.#depth > nestingMax) throw refusal('the schema', place, `is nested more than ${nestingMax} deep`);
    const id = this.rules.declare();
    this.#known.set(name, this.rules.call(id));
    this.rules.body(id, this.#body(schema, place));
    this.#depth--;
    return this.rules.call(id);
  }

  #body(schema: Flat, place: string): Piece {
    if ('$ref' in schema && isOnly(schema, '$ref')) return this.piece(resolveRef(this.root, schema['$ref'], place), String(schema['$ref']));
    for (const name of ['anyOf', 'oneOf']) {
      const list = schema[name];
      if (!isOnly(schema, name) || !Array.isArray(list) || list.length === 0) continue;
      const each = list as unknown[];
      if (name === 'oneOf') {
        refuseOverlap(
          each.map((one, i) => alternatives(this.root, one, `${place}/oneOf/${i}`)),
          `${place}/oneOf`,
        );
      }
      return this.rules.either(...each.map((one, i) => this.piece(one, `${place}/${name}/${i}`)));
    }
    return this.rules.either(...alternatives(this.root, schema, place).map((flat) => this.#flat(flat, place)));
  }

  #flat(schema: Flat, place: string): Piece {
    const values = valuesOf(schema);
    if (values !== null) return this.#values(schema, values, place);
    const said = Object.keys(keywordsOf).filter((kind) => keywordsOf[kind]!.some((name) => name in schema));
    const types = typesOf(schema) ?? (said.length > 0 ? said : null);
    if (types === null) return this.json.value;
    const unknown = types.find((type) => !allKinds.includes(type));
    if (unknown !== undefined) throw refusal(`\`type\` ${JSON.stringify(unknown)}`, place);
    const pieces = types.filter((type) => type !== 'integer' || !types.includes('number')).map((type) => this.#typed(type, schema, place));
    return this.rules.either(...pieces);
  }

  #typed(type: string, schema: Flat, place: string): Piece {
    switch (type) {
      case 'null':
        return this.rules.text('null');
      case 'boolean':
        return this.rules.either(this.rules.text('true'), this.rules.text('false'));
      case 'string':
        return this.json.stringOf(stringDfa(this.#stringLimits(schema, place)));
      case 'array':
        return this.#array(schema, place);
      case 'object':
        return this.#object(schema, place);
      default:
        return this.#number(schema, type === 'integer', place);
    }
  }

  /** `enum` and `const`. What else is said of the value may be its type. */
  #values(schema: Flat, values: readonly unknown[], place: string): Piece {
    const other = Object.values(keywordsOf)
      .flat()
      .find((name) => name in schema && name !== 'format');
    if (other !== undefined) throw refusal(`\`${other}\` beside \`enum\` or \`const\``, place);
    const types = typesOf(schema);
    const isTyped = (value: unknown) =>
      types === null || types.includes(kindOf(value)) || (kindOf(value) === 'integer' && types.includes('number'));
    return this.rules.either(...values.filter(isTyped).map((value) => this.#literal(value)));
  }

  #literal(value: unknown): Piece {
    const { rules, json } = this;
    if (Array.isArray(value)) return json.braces('[', this.#joined(value.map((each) => this.#literal(each))), ']');
    if (typeof value !== 'object' || value === null) return rules.text(JSON.stringify(value));
    const members = Object.entries(value).map(([name, each]) =>
      rules.sequence(rules.text(JSON.stringify(name)), json.colon, this.#literal(each)),
    );
    return json.braces('{', this.#joined(members), '}');
  }

  #joined(pieces: readonly Piece[]): Piece {
    return this.rules.sequence(...pieces.flatMap((piece, i) => (i === 0 ? [piece] : [this.json.comma, piece])));
  }

  #count(schema: Flat, name: string, fallback: number, place: string): number {
    const value = schema[name] ?? fallback;
    if (typeof value === 'number' && value >= 0 && (Number.isInteger(value) || value === fallback)) return value;
    throw refusal(`\`${name}\``, place, 'must be an integer, at least 0');
  }

  #stringLimits(schema: Flat, place: string): StringLimits {
    const list = (name: string): string[] => {
      const values = [schema[name] ?? []].flat();
      if (!values.every((each) => typeof each === 'string')) throw refusal(`\`${name}\``, place, 'must be a string');
      return values as string[];
    };
    const formats = list('format').filter((name) => {
      if (unservedFormats.has(name)) throw refusal(`\`format\` ${name}`, place);
      return Object.hasOwn(formatPatterns, name);
    });
    const minLength = this.#count(schema, 'minLength', 0, place);
    const maxLength = this.#count(schema, 'maxLength', Number.POSITIVE_INFINITY, place);
    return { minLength, maxLength, patterns: list('pattern'), formats, except: [] };
  }

  #number(schema: Flat, integer: boolean, place: string): Piece {
    const bounds = (names: readonly [string, string], better: (a: number, b: number) => boolean): Bound | null => {
      let found: Bound | null = null;
      for (const [name, exclusive] of [[names[0], false] as const, [names[1], true] as const]) {
        const value = schema[name];
        if (value === undefined) continue;
        if (typeof value !== 'number' || !Number.isFinite(value)) throw refusal(`\`${name}\``, place, 'must be a number');
        if (found === null || better(value, found.value) || (value === found.value && exclusive)) found = { value, exclusive };
      }
      return found;
    };
    const least = bounds(['minimum', 'exclusiveMinimum'], (a, b) => a > b);
    const most = bounds(['maximum', 'exclusiveMaximum'], (a, b) => a < b);
    const { multipleOf } = schema;
    if (multipleOf !== undefined && !integer) throw refusal('`multipleOf` of a number that is no integer', place);
    const dfa = numberDfa({ integer, least, most, multipleOf: multipleOf === undefined ? null : checkMultiple(multipleOf, place) });
    return this.rules.chars(dfa, 'utf8');
  }

  #array(schema: Flat, place: string): Piece {
    const { rules, json } = this;
    const { prefix, rest } = itemsOf(schema);
    const least = this.#count(schema, 'minItems', 0, place);
    // A tuple is closed where nothing is said of what comes behind it, unless it must be longer.
    const restSchema = rest ?? !(prefix.length > 0 && this.closed && least <= prefix.length);
    const most = Math.min(
      this.#count(schema, 'maxItems', Number.POSITIVE_INFINITY, place),
      restSchema === false ? prefix.length : Number.POSITIVE_INFINITY,
    );
    if (most < least) return rules.either();
    const items = prefix.map((each, i) => this.piece(each, `${place}/prefixItems/${i}`));
    const item = most > prefix.length ? this.piece(restSchema, `${place}/items`) : rules.empty;
    // From the back: what may follow `count` items.
    let follow: Piece = rules.empty;
    for (let count = Math.min(prefix.length, most); count >= 0; count--) {
      const comma = count === 0 ? rules.empty : json.comma;
      if (count === prefix.length) {
        const more = [Math.max(0, least - count), most - count] as const;
        follow = count === 0 ? json.list(item, ...more) : rules.repeat(rules.sequence(comma, item), ...more);
      } else if (count < most) {
        const next = rules.sequence(comma, items[count]!, follow);
        follow = count >= least ? rules.optional(next) : next;
      }
    }
    return json.braces('[', follow, ']');
  }

  #object(schema: Flat, place: string): Piece {
    const { rules, json } = this;
    const members = this.#members(schema, place);
    const extra = this.#extraMember(
      schema,
      members.map(({ name }) => name),
      place,
    );
    const numRequired = members.filter(({ required }) => required).length;
    const least = this.#count(schema, 'minProperties', 0, place);
    const most = this.#count(schema, 'maxProperties', Number.POSITIVE_INFINITY, place);
    if (numRequired > most) return rules.either();
    if (extra === null && members.length < least) return rules.either();
    // Equal names count once, so that more than one property of any name cannot be promised.
    if (least > Math.max(1, numRequired)) throw refusal('`minProperties` above 1 and above the number of required properties', place);
    if (most < members.length || (most !== Number.POSITIVE_INFINITY && extra !== null && members.length > 0)) {
      throw refusal('`maxProperties` beside optional properties', place);
    }
    const extras = extra === null ? rules.empty : rules.repeat(rules.sequence(json.comma, extra), 0, Number.POSITIVE_INFINITY);
    // From the back: what may follow once there is a member, and what an object may begin with.
    let after: Piece = extras;
    const begins: Piece[] = [];
    if (extra !== null) begins.push(members.length === 0 ? json.list(extra, 1, most) : rules.sequence(extra, extras));
    if (least === 0) begins.push(rules.empty);
    if (most === 0) return json.braces('{', rules.empty, '}');
    for (const { member, required } of [...members].reverse()) {
      const rest = after;
      if (required) begins.length = 0;
      begins.push(rules.sequence(member, rest));
      const more = rules.sequence(json.comma, member, rest);
      after = rules.define(required ? more : rules.either(more, rest));
    }
    return json.braces('{', rules.either(...begins), '}');
  }

  /** The properties that are named, in the schema's order; then those that are only required. */
  #members(schema: Flat, place: string): { name: string; member: Piece; required: boolean }[] {
    const { rules, json } = this;
    const [properties, required] = [schema['properties'] ?? {}, schema['required'] ?? []];
    if (typeof properties !== 'object' || properties === null || Array.isArray(properties))
      throw refusal('`properties`', place, 'must be an object');
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw refusal('`required`', place, 'must be a list of names');
    const rest = (schema['additionalProperties'] ?? schema['unevaluatedProperties'] ?? true) as Schema;
    const names = [...new Set([...Object.keys(properties), ...requiredOf(schema)])];
    return names.flatMap((name) => {
      const isNamed = Object.hasOwn(properties, name);
      if (!isNamed && ('patternProperties' in schema || 'propertyNames' in schema))
        throw refusal(`\`required\` ${JSON.stringify(name)} without a schema of its own`, place);
      const value = isNamed ? propertiesOf(schema)[name]! : rest;
      const isRequired = requiredOf(schema).includes(name);
      if (value === false && !isRequired) return [];
      const at = isNamed ? `${place}/properties/${name.replaceAll('~', '~0').replaceAll('/', '~1')}` : `${place}/additionalProperties`;
      return [{ name, member: rules.sequence(rules.text(JSON.stringify(name)), json.colon, this.piece(value, at)), required: isRequired }];
    });
  }

  /** A member of a name that is not among `names`; null: there are none. */
  #extraMember(schema: Flat, names: readonly string[], place: string): Piece | null {
    const { rules, json } = this;
    const named = Object.keys(propertiesOf(schema));
    const except = [...new Set([...names, ...named])];
    const said = schema['additionalProperties'] ?? schema['unevaluatedProperties'];
    if ('patternProperties' in schema) return this.#patternMember(schema, except, place);
    const rest = said ?? !(this.closed && named.length > 0);
    if (rest === false) return null;
    const keys = this.#keyLimits(schema, except, place);
    return rules.sequence(json.stringOf(stringDfa(keys)), json.colon, this.piece(rest, `${place}/additionalProperties`));
  }

  #keyLimits(schema: Flat, except: readonly string[], place: string): StringLimits {
    const free: StringLimits = { minLength: 0, maxLength: Number.POSITIVE_INFINITY, patterns: [], formats: [], except };
    const { propertyNames } = schema;
    if (propertyNames === undefined || propertyNames === true) return free;
    const at = `${place}/propertyNames`;
    const flat = checkedSchema(propertyNames, at);
    const allowed = ['type', ...keywordsOf['string']!, 'description', 'title'];
    if (
      flat === false ||
      except.length > 0 ||
      !Object.keys(flat as Flat).every((name) => allowed.includes(name)) ||
      !(typesOf(flat as Flat) ?? ['string']).includes('string')
    )
      throw refusal("`propertyNames` beside `properties`, or of more than a string's limits", at);
    return { ...this.#stringLimits(flat as Flat, at), except };
  }

  #patternMember(schema: Flat, except: readonly string[], place: string): Piece {
    const { rules, json } = this;
    const patterns = Object.entries((schema['patternProperties'] ?? {}) as Readonly<Record<string, unknown>>);
    const rest = schema['additionalProperties'] ?? schema['unevaluatedProperties'] ?? !this.closed;
    if (patterns.length !== 1 || rest !== false || 'propertyNames' in schema)
      throw refusal('`patternProperties` of more than one pattern, or beside other properties', place);
    const [pattern, value] = patterns[0]!;
    const keys = regexDfa(pattern, { search: true });
    const matched = except.find((name) => new RegExp(pattern, 'u').test(name));
    if (matched !== undefined) throw refusal(`\`patternProperties\` that match the property ${JSON.stringify(matched)}`, place);
    const free = stringDfa({ minLength: 0, maxLength: Number.POSITIVE_INFINITY, patterns: [], formats: [], except });
    const dfa = free === null ? keys : intersectDfas(keys, free);
    return rules.sequence(json.stringOf(dfa), json.colon, this.piece(value, `${place}/patternProperties`));
  }
}
