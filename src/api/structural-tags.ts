/** xgrammar's structural tags -> `GrammarSpec`: formats within formats. What is not known of one is refused by its place. */
import { LockstepError } from '../errors.js';
import type { FieldSpec, GrammarSpec, TagSpec } from '../grammar/spec.js';
import { toolFormats } from '../parsing/tool-formats.js';
import { unrecognized, wrongType } from './fields.js';
import { isObject, type JsonObject } from './json-object.js';

export const isGiven = (value: unknown) => value !== undefined && value !== null && value !== false;
export const askedBy = (name: string, grammar: GrammarSpec): FieldSpec => ({ kind: 'field', name, grammar });

/** Most times that one format may be repeated by number. */
const repeatMax = 10_000;

/** Fields of each format beside its type. */
const fieldsOf: Readonly<Record<string, readonly string[]>> = {
  json_schema: ['json_schema', 'style'],
  const_string: ['value'],
  regex: ['pattern'],
  grammar: ['grammar'],
  any_text: ['excludes'],
  sequence: ['elements'],
  or: ['elements'],
  optional: ['content'],
  star: ['content'],
  plus: ['content'],
  repeat: ['content', 'min', 'max'],
  tag: ['begin', 'content', 'end'],
  triggered_tags: ['triggers', 'tags', 'at_least_one', 'stop_after_first', 'excludes'],
  tags_with_separator: ['tags', 'separator', 'at_least_one', 'stop_after_first'],
};

/** Ways to write the object of a schema that are no JSON, and the parser that reads them. */
const parserOfStyle: Readonly<Record<string, string>> = {
  qwen_xml: 'qwen3_coder',
  minimax_xml: 'minimax_m2',
  deepseek_xml: 'deepseek_v32',
  glm_xml: 'glm45',
};

/** `{format}`, or the older `{structures, triggers}`. */
export function structuralTag(value: JsonObject, field: string): GrammarSpec {
  if (isGiven(value['format'])) return formatOf(value['format'], `${field}.format`);
  const tags = listOf(value['structures'], `${field}.structures`).map((structure, i): TagSpec => {
    const place = `${field}.structures.${i}`;
    if (!isObject(structure)) throw wrongType(place, 'an object');
    const content = askedBy(`${place}.schema`, { kind: 'json_schema', schema: structure['schema'] ?? {} });
    return { kind: 'tag', begin: textOf(structure['begin'], `${place}.begin`), content, end: textOf(structure['end'], `${place}.end`) };
  });
  const triggers = textsOf(value['triggers'], `${field}.triggers`);
  return { kind: 'triggered_tags', triggers, tags, atLeastOne: false, stopAfterFirst: false };
}

function formatOf(value: unknown, place: string): GrammarSpec {
  if (!isObject(value)) throw wrongType(place, 'an object');
  checkFields(value, place);
  const text = (name: string) => textOf(value[name], `${place}.${name}`);
  const content = () => formatOf(value['content'], `${place}.content`);
  const elements = () => listOf(value['elements'], `${place}.elements`).map((each, i) => formatOf(each, `${place}.elements.${i}`));
  const tags = () => listOf(value['tags'], `${place}.tags`).map((each, i) => tagOf(each, `${place}.tags.${i}`));
  const flag = (name: string) => value[name] === true;
  switch (value['type']) {
    case 'json_schema':
      return schemaOf(value, place);
    case 'const_string':
      return { kind: 'literal', text: text('value') };
    case 'regex':
      return askedBy(`${place}.pattern`, { kind: 'regex', pattern: text('pattern') });
    case 'grammar':
      return askedBy(`${place}.grammar`, { kind: 'ebnf', grammar: text('grammar') });
    case 'any_text':
      return { kind: 'free_text', excludes: excludesOf(value, place) };
    case 'sequence':
      return { kind: 'sequence', elements: elements() };
    case 'or':
      return { kind: 'any_of', elements: elements() };
    case 'optional':
      return { kind: 'repeat', element: content(), least: 0, most: 1 };
    case 'star':
      return { kind: 'repeat', element: content(), least: 0, most: null };
    case 'plus':
      return { kind: 'repeat', element: content(), least: 1, most: null };
    case 'repeat': {
      const [least, most] = [countOf(value['min'], `${place}.min`), value['max'] === -1 ? null : countOf(value['max'], `${place}.max`)];
      if (most !== null && most < least) throw wrongType(`${place}.max`, '-1, or no less than min');
      return { kind: 'repeat', element: content(), least, most };
    }
    case 'tag':
      return tagOf(value, place);
    case 'triggered_tags': {
      const shape = { triggers: textsOf(value['triggers'], `${place}.triggers`), tags: tags(), excludes: excludesOf(value, place) };
      return { kind: 'triggered_tags', ...shape, atLeastOne: flag('at_least_one'), stopAfterFirst: flag('stop_after_first') };
    }
    case 'tags_with_separator':
      return {
        kind: 'tags',
        tags: tags(),
        separator: text('separator'),
        atLeastOne: flag('at_least_one'),
        stopAfterFirst: flag('stop_after_first'),
      };
    default:
      throw new LockstepError('invalid_value', `${place}.type ${JSON.stringify(value['type'])} is not supported by this server.`, {
        param: `${place}.type`,
      });
  }
}

function checkFields(value: JsonObject, place: string): void {
  const known = fieldsOf[String(value['type'])];
  const unknown = Object.keys(value).find((name) => name !== 'type' && isGiven(value[name]) && known?.includes(name) === false);
  if (unknown !== undefined) throw unrecognized(`${place}.${unknown}`);
}

function schemaOf(value: JsonObject, place: string): GrammarSpec {
  const { json_schema: schema, style } = value;
  const field = `${place}.json_schema`;
  if (!isGiven(style) || style === 'json') return askedBy(field, { kind: 'json_schema', schema });
  const form = toolFormats.find(({ name }) => name === parserOfStyle[String(style)])?.written?.arguments;
  if (form === undefined || form.kind === 'json') throw wrongType(`${place}.style`, `'json', '${Object.keys(parserOfStyle).join("', '")}'`);
  return askedBy(field, { kind: 'arguments', schema, form });
}

function tagOf(value: unknown, place: string): TagSpec {
  if (!isObject(value)) throw wrongType(place, 'an object');
  checkFields({ ...value, type: 'tag' }, place);
  const content = value['content'];
  const [begin, end] = [textOf(value['begin'], `${place}.begin`), textOf(value['end'], `${place}.end`)];
  // Any text would run over the end of the tag: it stops at the first one.
  if (isObject(content) && content['type'] === 'any_text' && end !== '') {
    checkFields(content, `${place}.content`);
    return { kind: 'tag', begin, content: { kind: 'free_text', until: end, excludes: excludesOf(content, `${place}.content`) }, end: '' };
  }
  return { kind: 'tag', begin, content: formatOf(content, `${place}.content`), end };
}

const excludesOf = (value: JsonObject, place: string): readonly string[] =>
  isGiven(value['excludes']) ? textsOf(value['excludes'], `${place}.excludes`) : [];

function countOf(value: unknown, place: string): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= repeatMax) return value as number;
  throw wrongType(place, `an integer of 0 to ${repeatMax}`);
}

export function textOf(value: unknown, place: string): string {
  if (typeof value !== 'string') throw wrongType(place, 'a string');
  return value;
}

function listOf(value: unknown, place: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongType(place, 'a list');
  return value;
}

export const textsOf = (value: unknown, place: string) => listOf(value, place).map((each, i) => textOf(each, `${place}.${i}`));
