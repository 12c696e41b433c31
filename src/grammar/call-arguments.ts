/**
 * Arguments of calls in the forms that are no JSON object -> rules. What a text of them means is what `parsing/` reads there, and that
 * satisfies the schema.
 */
import { isTextOf } from '../parsing/named-call.js';
import { typesFrom } from '../parsing/schema-types.js';
import { type ParameterMarkup, writtenKeys } from '../parsing/tool-format.js';
import { type CharDfa, intersectDfas } from './char-dfa.js';
import { type ObjectForm, SchemaCompiler } from './json-schema.js';
import { JsonText } from './json-text.js';
import { jsonLiterals, type Literals, pythonLiterals, quotedLiterals, withoutText } from './literals.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import { allKinds, refusal, type Schema } from './schema-merge.js';
import type { ArgumentsSpec } from './spec.js';

export function callArguments(rules: Rules, { schema, form, whitespace }: ArgumentsSpec): Piece {
  const compilerOf = (literals: Literals) => new SchemaCompiler(rules, schema, new JsonText(rules, whitespace ?? 'any', literals), true);
  switch (form.kind) {
    case 'parameters': {
      const compiler = compilerOf(jsonLiterals);
      return compiler.members(parametersForm(rules, compiler, form));
    }
    case 'python': {
      const compiler = compilerOf(pythonLiterals);
      return compiler.members(listForm(rules, compiler, 'python', '=', ', '));
    }
    case 'quoted': {
      const compiler = compilerOf(quotedLiterals(form.quote));
      return compiler.members(listForm(rules, compiler, 'quoted', ':', ','));
    }
  }
}

/** `key=value, key=value` */
function listForm(rules: Rules, compiler: SchemaCompiler, kind: 'python' | 'quoted', equals: string, comma: string): ObjectForm {
  const keyDfa = regexDfa(writtenKeys[kind], { search: false });
  const member = (key: Piece, value: Schema, place: string) => rules.sequence(key, rules.text(equals), compiler.piece(value, place));
  return {
    open: rules.empty,
    close: rules.empty,
    comma: rules.text(comma),
    named: (name, value, place) => member(rules.text(writtenKey(name, kind, place)), value, place),
    other: (keys, value, place) => member(rules.chars(both(keyDfa, keys), 'utf8'), value, place),
  };
}

/** Each argument between markers: as text where `parsing/` takes it for that, else as JSON. */
function parametersForm(rules: Rules, compiler: SchemaCompiler, markup: ParameterMarkup): ObjectForm {
  const typesOf = typesFrom(new Map([['', compiler.root]]));
  const keyDfa = regexDfa(writtenKeys.parameters, { search: false });
  const text = textDfa(markup);
  const [begin, end] = [rules.marker(markup.begin), rules.marker(markup.end)];
  const asText = (value: Schema, place: string) => rules.sequence(rules.marker(markup.keyEnd), compiler.text(value, place, text));
  const asJson = (keyEnd: string, value: Schema, types: readonly string[], place: string) =>
    rules.sequence(rules.marker(keyEnd), compiler.piece(ofTypes(value, types), place));
  const member = (key: Piece, types: readonly string[] | null, value: Schema, place: string): Piece => {
    if (markup.jsonKeyEnd !== undefined) {
      const others = allKinds.filter((kind) => kind !== 'string');
      const ways = rules.either(asText(value, place), asJson(markup.jsonKeyEnd, value, others, place));
      return rules.sequence(begin, key, ways, end);
    }
    const way = isTextOf(types) ? asText(value, place) : asJson(markup.keyEnd, value, types!, place);
    return rules.sequence(begin, key, way, end);
  };
  return {
    open: rules.empty,
    close: rules.empty,
    comma: rules.empty,
    named: (name, value, place) => member(rules.text(writtenKey(name, 'parameters', place)), typesOf('', name), value, place),
    other: (keys, value, place) => member(rules.chars(both(keyDfa, keys), 'utf8'), typesOf('', null), value, place),
  };
}

/** What can stand between the markers and is read as it was meant: a line break beside a marker that has none of its own would be lost. */
function textDfa({ keyEnd, end }: ParameterMarkup): CharDfa {
  const inside = withoutText(end.trim());
  const [first, last] = [keyEnd.endsWith('\n') ? '[^]' : '[^\\n]', end.startsWith('\n') ? '[^]' : '[^\\n]'];
  const only = first === last ? first : '[^\\n]';
  return intersectDfas(inside, regexDfa(`(?:${first}[^]*${last}|${only})?`, { search: false }));
}

const both = (a: CharDfa, b: CharDfa | null): CharDfa => (b === null ? a : intersectDfas(a, b));

/** What has one of these types, and so is read as what it is. */
function ofTypes(value: Schema, types: readonly string[]): Schema {
  if (value === false) return false;
  const type = types.filter((each) => allKinds.includes(each));
  return value === true ? { type } : { allOf: [value, { type }] };
}

function writtenKey(name: string, kind: keyof typeof writtenKeys, place: string): string {
  if (new RegExp(`^${writtenKeys[kind]}$`, 'u').test(name)) return name;
  throw refusal(`the property ${JSON.stringify(name)}`, place, "cannot be written in this model's form of calls");
}
