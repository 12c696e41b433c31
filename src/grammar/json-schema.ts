/**
 * JSON Schema -> rules whose every text is a value that satisfies it. Not every such value: properties come in the schema's order, objects
 * and tuples are closed where nothing else is said, numbers have a bounded number of digits, and strings with limits are written in one way.
 */

import { isDeepStrictEqual } from 'node:util';
import { accepts, type CharDfa, intersectDfas } from './char-dfa.js';
import { unservedFormats } from './formats.js';
import { type Bound, checkMultiple, numberDfa } from './json-numbers.js';
import { anyText, JsonText, type StringLimits, stringDfa } from './json-text.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import { areDisjoint } from './schema-disjoint.js';
import {
  allKinds,
  both,
  type Contained,
  excludedOf,
  type Flat,
  type Items,
  itemsOf,
  keywordsOf,
  kindOf,
  namesProperties,
  propertiesOf,
  refusal,
  requiredOf,
  type Schema,
  typesOf,
  valuesOf,
} from './schema-merge.js';
import { keepsRest } from './schema-values.js';
import { checkedSchema, isOnly, resolveRef, SchemaWays } from './schema-ways.js';
import type { JsonSchemaSpec } from './spec.js';

/** Characters of a schema as JSON. */
export const schemaCharsMax = 512 * 1024;
/** Schemas within schemas. */
const nestingMax = 128;

export function jsonSchema(rules: Rules, { schema, whitespace, closedObjects }: JsonSchemaSpec): Piece {
  const compiler = new SchemaCompiler(rules, schema, new JsonText(rules, whitespace ?? 'any'), closedObjects ?? true);
  return compiler.piece(schema, '#');
}

/** Values of a list without equal items: each set of those that are left is a rule. */
const uniqueValuesMax = 8;
/** Of `minContains`. */
const containedMax = 256;

/** How the members of an object are written. */
export interface ObjectForm {
  readonly open: Piece;
  readonly close: Piece;
  readonly comma: Piece;
  named(name: string, value: Schema, place: string): Piece;
  /** A member of any other name, of those of `keys`; null: whatever it is. */
  other(keys: CharDfa | null, value: Schema, place: string): Piece;
}

export class SchemaCompiler {
  /** Rules by the text of their schema: what is said twice is made once, and recursion comes back to its rule. */
  readonly #known = new Map<string, Piece>();
  readonly root: Schema;
  readonly #ways: SchemaWays;
  readonly #form: ObjectForm;
  #depth = 0;

  constructor(
    readonly rules: Rules,
    root: unknown,
    readonly json: JsonText,
    readonly closed: boolean,
  ) {
    const size = JSON.stringify(root)?.length ?? 0;
    if (size > schemaCharsMax) throw refusal('the whole', '#', `has ${size} characters, and at most ${schemaCharsMax} are allowed`);
    this.root = checkedSchema(root, '#');
    this.#ways = new SchemaWays(this.root);
    this.#form = {
      open: rules.sequence(rules.text('{'), json.space),
      close: rules.sequence(json.space, rules.text('}')),
      comma: json.comma,
      named: (name, value, place) => rules.sequence(json.key(name), json.colon, this.piece(value, place)),
      other: (keys, value, place) => rules.sequence(json.stringOf(keys), json.colon, this.piece(value, place)),
    };
  }

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

  /** The members of an object that satisfies the schema of the whole, in a form of their own. */
  members(form: ObjectForm): Piece {
    const objects = this.#ways.alternatives(this.root, '#').filter((flat) => (typesOf(flat) ?? ['object']).includes('object'));
    if (objects.some((flat) => valuesOf(flat) !== null)) throw refusal('`enum` or `const` of whole arguments', '#');
    return this.rules.either(...objects.map((flat) => this.#object(flat, '#', form)));
  }

  /** Strings that satisfy a schema and are of `fits`, as they stand. */
  text(value: Schema, place: string, fits: CharDfa): Piece {
    const { rules } = this;
    const ways = this.#ways.alternatives({ allOf: [value, { type: 'string' }] }, place).map((flat) => {
      const listed = valuesOf(flat)?.filter((each): each is string => typeof each === 'string' && keepsRest(each, flat, place));
      if (listed !== undefined) return rules.either(...listed.filter((each) => accepts(fits, each)).map((each) => rules.text(each)));
      const dfa = stringDfa(this.#stringLimits(flat, place));
      return rules.chars(dfa === null ? fits : intersectDfas(dfa, fits), 'utf8');
    });
    return rules.define(rules.either(...ways));
  }

  #body(schema: Flat, place: string): Piece {
    if ('$ref' in schema && isOnly(schema, '$ref')) return this.piece(resolveRef(this.root, schema['$ref'], place), String(schema['$ref']));
    for (const name of ['anyOf', 'oneOf']) {
      const list = schema[name];
      if (!isOnly(schema, name) || !Array.isArray(list) || list.length === 0) continue;
      const each = (list as unknown[]).map((one, i) => [one, `${place}/${name}/${i}`] as const);
      if (name === 'oneOf' && !this.#ways.areApart(each)) continue;
      return this.rules.either(...each.map(([one, at]) => this.piece(one, at)));
    }
    return this.rules.either(...this.#ways.alternatives(schema, place).map((flat) => this.#flat(flat, place)));
  }

  #flat(schema: Flat, place: string): Piece {
    const values = valuesOf(schema);
    if (values !== null)
      return this.rules.either(...values.filter((value) => keepsRest(value, schema, place)).map((value) => this.#literal(value)));
    const said = Object.keys(keywordsOf).filter((kind) => keywordsOf[kind]!.some((name) => name in schema));
    const types = typesOf(schema) ?? (said.length > 0 ? said : excludedOf(schema) === null ? null : allKinds);
    if (types === null) return this.json.value;
    const unknown = types.find((type) => !allKinds.includes(type));
    if (unknown !== undefined) throw refusal(`\`type\` ${JSON.stringify(unknown)}`, place);
    const pieces = types.filter((type) => type !== 'integer' || !types.includes('number')).map((type) => this.#typed(type, schema, place));
    return this.rules.either(...pieces);
  }

  #typed(type: string, schema: Flat, place: string): Piece {
    const excluded = excludedOf(schema)?.values ?? [];
    const words = (values: readonly unknown[]) =>
      this.rules.either(...values.filter((value) => !excluded.includes(value)).map((value) => this.#literal(value)));
    switch (type) {
      case 'null':
        return words([null]);
      case 'boolean':
        return words([true, false]);
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

  #literal(value: unknown): Piece {
    const { rules, json } = this;
    if (Array.isArray(value)) return json.braces('[', this.#joined(value.map((each) => this.#literal(each))), ']');
    if (typeof value !== 'object' || value === null) return json.scalar(value);
    const members = Object.entries(value).map(([name, each]) => rules.sequence(json.key(name), json.colon, this.#literal(each)));
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
    const formats = list('format');
    const unserved = formats.find((name) => unservedFormats.has(name));
    if (unserved !== undefined) throw refusal(`\`format\` ${unserved}`, place);
    const minLength = this.#count(schema, 'minLength', 0, place);
    const maxLength = this.#count(schema, 'maxLength', Number.POSITIVE_INFINITY, place);
    const { values = [], patterns: exceptPatterns = [] } = excludedOf(schema) ?? {};
    const except = values.filter((value) => typeof value === 'string');
    return { minLength, maxLength, patterns: list('pattern'), formats, except, exceptPatterns };
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
    const { values = [], integers: fraction = false } = excludedOf(schema) ?? {};
    const except = values.filter((value) => typeof value === 'number');
    const multiple = multipleOf === undefined ? null : checkMultiple(multipleOf, place);
    return this.rules.chars(numberDfa({ integer, least, most, multipleOf: multiple, except, fraction }), 'utf8');
  }

  #array(schema: Flat, place: string): Piece {
    const { rules, json } = this;
    this.#refuseExcluded('array', schema, place);
    const given = itemsOf(schema);
    const contained = (schema['contains'] ?? null) as Contained | null;
    if (contained !== null && contained.least > contained.most) return rules.either();
    const { prefix, rest } = contained === null ? given : withContained(given, contained, place);
    const numContained = prefix.length - given.prefix.length;
    const least = Math.max(this.#count(schema, 'minItems', 0, place), numContained === 0 ? 0 : prefix.length);
    // A tuple is closed where nothing is said of what comes behind it, unless it must be longer.
    const restSchema = rest ?? !(prefix.length > 0 && this.closed && least <= prefix.length);
    const most = Math.min(
      this.#count(schema, 'maxItems', Number.POSITIVE_INFINITY, place),
      restSchema === false ? prefix.length : Number.POSITIVE_INFINITY,
    );
    if (schema['uniqueItems'] === true && most > 1) {
      if (prefix.length === 0) return this.#uniqueItems(restSchema, least, most, place);
      const each = prefix.map((one, i) => this.#ways.alternatives(one, `${place}/prefixItems/${i}`));
      if (restSchema !== false || !areDisjoint(each)) throw unsureUnique(place);
    }
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

  /** Items of a list of values, none twice. */
  #uniqueItems(item: Schema, least: number, most: number, place: string): Piece {
    const { rules, json } = this;
    const at = `${place}/items`;
    const values: unknown[] = [];
    for (const flat of this.#ways.alternatives(item, at)) {
      const types = typesOf(flat) ?? [];
      const words = types.length > 0 && types.every((type) => type === 'boolean' || type === 'null') ? [true, false, null] : null;
      const listed = valuesOf(flat) ?? words;
      if (listed === null) throw unsureUnique(place);
      for (const value of listed) {
        if (keepsRest(value, flat, at) && !values.some((other) => isDeepStrictEqual(other, value))) values.push(value);
      }
    }
    if (values.length > uniqueValuesMax) throw unsureUnique(place);
    const known = new Map<number, Piece>();
    // `left`: a bit for each value that is not there yet.
    const follow = (left: number, count: number): Piece => {
      const made = known.get(left);
      if (made !== undefined) return made;
      const ways = values.flatMap((value, i) => {
        if ((left >> i) % 2 === 0 || count >= most) return [];
        return [rules.sequence(count === 0 ? rules.empty : json.comma, this.#literal(value), follow(left - (1 << i), count + 1))];
      });
      const piece = rules.define(rules.either(...ways, ...(count >= least ? [rules.empty] : [])));
      known.set(left, piece);
      return piece;
    };
    return json.braces('[', follow((1 << values.length) - 1, 0), ']');
  }

  #refuseExcluded(kind: string, schema: Flat, place: string): void {
    if (excludedOf(schema)?.values.some((value) => kindOf(value) === kind)) throw refusal(`\`not\` of an ${kind}`, place);
  }

  #object(schema: Flat, place: string, form = this.#form): Piece {
    const { rules, json } = this;
    this.#refuseExcluded('object', schema, place);
    const members = this.#members(schema, place, form);
    const names = members.map(({ name }) => name);
    const extra = this.#extraMember(schema, names, place, form);
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
    const extras = extra === null ? rules.empty : rules.repeat(rules.sequence(form.comma, extra), 0, Number.POSITIVE_INFINITY);
    // From the back: what may follow once there is a member, and what an object may begin with.
    let after: Piece = extras;
    const begins: Piece[] = [];
    if (extra !== null) begins.push(members.length === 0 ? json.list(extra, 1, most, form.comma) : rules.sequence(extra, extras));
    if (least === 0) begins.push(rules.empty);
    if (most === 0) return rules.sequence(form.open, form.close);
    for (const { member, required } of [...members].reverse()) {
      const rest = after;
      if (required) begins.length = 0;
      begins.push(rules.sequence(member, rest));
      const more = rules.sequence(form.comma, member, rest);
      after = rules.define(required ? more : rules.either(more, rest));
    }
    return rules.sequence(form.open, rules.either(...begins), form.close);
  }

  /** The properties that are named, in the schema's order; then those that are only required. */
  #members(schema: Flat, place: string, form: ObjectForm): { name: string; member: Piece; required: boolean }[] {
    const [properties, required] = [schema['properties'] ?? {}, schema['required'] ?? []];
    if (typeof properties !== 'object' || properties === null || Array.isArray(properties))
      throw refusal('`properties`', place, 'must be an object');
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
      throw refusal('`required`', place, 'must be a list of names');
    const rest = (schema['additionalProperties'] ?? schema['unevaluatedProperties'] ?? true) as Schema;
    const names = [...new Set([...Object.keys(properties), ...requiredOf(schema)])];
    return names.flatMap((name) => {
      const isNamed = Object.hasOwn(properties, name);
      if (!isNamed && 'patternProperties' in schema)
        throw refusal(`\`required\` ${JSON.stringify(name)} without a schema of its own`, place);
      const value = isNamed ? propertiesOf(schema)[name]! : rest;
      const isRequired = requiredOf(schema).includes(name);
      if (value === false && !isRequired) return [];
      if (!hasAnyNames(schema)) throw namesBeside(`${place}/propertyNames`);
      const at = isNamed ? `${place}/properties/${name.replaceAll('~', '~0').replaceAll('/', '~1')}` : `${place}/additionalProperties`;
      return [{ name, member: form.named(name, value, at), required: isRequired }];
    });
  }

  /** A member of a name that is not among `names`; null: there are none. */
  #extraMember(schema: Flat, names: readonly string[], place: string, form: ObjectForm): Piece | null {
    const named = Object.keys(propertiesOf(schema));
    const except = [...new Set([...names, ...named])];
    const said = schema['additionalProperties'] ?? schema['unevaluatedProperties'];
    if ('patternProperties' in schema) return this.#patternMember(schema, except, place, form);
    const rest = said ?? !(this.closed && namesProperties(schema));
    if (rest === false) return null;
    const keys = this.#keyLimits(schema, except, place);
    return form.other(stringDfa(keys), rest as Schema, `${place}/additionalProperties`);
  }

  #keyLimits(schema: Flat, except: readonly string[], place: string): StringLimits {
    const free: StringLimits = { ...anyText, except };
    const { propertyNames } = schema;
    if (hasAnyNames(schema)) return free;
    const at = `${place}/propertyNames`;
    const flat = checkedSchema(propertyNames, at);
    const allowed = ['type', ...keywordsOf['string']!, 'description', 'title'];
    if (
      flat === false ||
      except.length > 0 ||
      !Object.keys(flat as Flat).every((name) => allowed.includes(name)) ||
      !(typesOf(flat as Flat) ?? ['string']).includes('string')
    )
      throw namesBeside(at);
    return { ...this.#stringLimits(flat as Flat, at), except };
  }

  #patternMember(schema: Flat, except: readonly string[], place: string, form: ObjectForm): Piece {
    const patterns = Object.entries((schema['patternProperties'] ?? {}) as Readonly<Record<string, unknown>>);
    const rest = schema['additionalProperties'] ?? schema['unevaluatedProperties'] ?? !this.closed;
    if (patterns.length !== 1 || rest !== false || 'propertyNames' in schema)
      throw refusal('`patternProperties` of more than one pattern, or beside other properties', place);
    const [pattern, value] = patterns[0]!;
    const keys = regexDfa(pattern, { search: true });
    const matched = except.find((name) => new RegExp(pattern, 'u').test(name));
    if (matched !== undefined) throw refusal(`\`patternProperties\` that match the property ${JSON.stringify(matched)}`, place);
    const free = stringDfa({ ...anyText, except });
    const dfa = free === null ? keys : intersectDfas(keys, free);
    return form.other(dfa, value as Schema, `${place}/patternProperties`);
  }
}

/** Items that `contains` asks for come first, behind a prefix; with `maxContains` the others are none of them. */
function withContained({ prefix, rest }: Items, { schema, least, most }: Contained, place: string): Items {
  const other = most === Number.POSITIVE_INFINITY ? true : { not: schema };
  if (rest === false && least > 0) throw refusal('`contains` beside a closed list of items', place);
  const wanted = Array.from({ length: Math.min(least, containedMax + 1) }, () => both(rest ?? true, schema));
  if (wanted.length > containedMax) throw refusal('`minContains`', place, `is above ${containedMax}`);
  return { prefix: [...prefix.map((one) => both(one, other)), ...wanted], rest: both(rest ?? true, other) };
}

const hasAnyNames = ({ propertyNames }: Flat) => propertyNames === undefined || propertyNames === true;
const namesBeside = (place: string) => refusal("`propertyNames` beside `properties`, or of more than a string's limits", place);

const unsureUnique = (place: string) => refusal(`\`uniqueItems\` of other items than at most ${uniqueValuesMax} values of \`enum\``, place);
