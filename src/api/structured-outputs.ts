/**
 * The fields that say what the output must be -> `GrammarSpec`: response_format (OpenAI's), structured_outputs (vLLM's) and guided_* (its older
 * names). Whether the grammar can be kept is found when it is compiled. The wording is vLLM's where it has one.
 */
import { LockstepError } from '../errors.js';
import type { FieldSpec, GrammarSpec, JsonWhitespace } from '../grammar/spec.js';
import { unrecognized, wrongType } from './fields.js';
import { isObject, type JsonObject } from './json-object.js';
import { askedBy, isGiven, structuralTag, textOf, textsOf } from './structural-tags.js';

const kinds = ['json', 'regex', 'choice', 'grammar', 'json_object', 'structural_tag'] as const;
type Kind = (typeof kinds)[number];
const flags = ['disable_any_whitespace', 'disable_additional_properties'] as const;

/** Names of before `structured_outputs`. */
const guided: Readonly<Record<string, Kind>> = {
  guided_json: 'json',
  guided_regex: 'regex',
  guided_choice: 'choice',
  guided_grammar: 'grammar',
};

interface Asked {
  readonly field: string;
  readonly kind: Kind;
  readonly value: unknown;
}

/** null: any text. Throws for what is no grammar, and for more than one. */
export function parseGrammar(body: JsonObject, { compactJson }: { readonly compactJson: boolean }): FieldSpec | null {
  const asked: Asked[] = [];
  const options = structuredOutputs(body, asked);
  for (const [field, kind] of Object.entries(guided)) if (isGiven(body[field])) asked.push({ field, kind, value: body[field] });
  const format = responseFormat(body['response_format'], compactJson);
  if (asked.length + (format === null ? 0 : 1) > 1) {
    throw new LockstepError(
      'invalid_value',
      "You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice').",
    );
  }
  if (format !== null) return askedBy('response_format', format);
  const [first] = asked;
  return first === undefined ? null : askedBy(first.field, specOf(first, options.disable_any_whitespace || compactJson ? 'none' : 'any'));
}

function structuredOutputs(body: JsonObject, asked: Asked[]): Record<(typeof flags)[number], boolean> {
  const given = (body['structured_outputs'] ?? null) as JsonObject | null;
  const on = { disable_any_whitespace: false, disable_additional_properties: false };
  if (given === null) return on;
  for (const [name, value] of Object.entries(given)) {
    const field = `structured_outputs.${name}`;
    if (!isGiven(value)) continue;
    if (kinds.includes(name as Kind)) asked.push({ field, kind: name as Kind, value });
    else if (!flags.includes(name as (typeof flags)[number])) throw unserved(name, field);
    else if (typeof value !== 'boolean') throw wrongType(field, 'true or false');
    else on[name as (typeof flags)[number]] = value;
  }
  if (asked.length === 0) {
    const message = `You must use one kind of structured outputs constraint (${kinds.join(', ')}) but none is specified.`;
    throw new LockstepError('invalid_value', message, { param: 'structured_outputs' });
  }
  return on;
}

function unserved(name: string, field: string): LockstepError {
  if (name !== 'whitespace_pattern') return unrecognized(field);
  const message = 'whitespace_pattern is not supported by this server. Use disable_any_whitespace.';
  return new LockstepError('invalid_value', message, { param: field });
}

function specOf({ field, kind, value }: Asked, whitespace: JsonWhitespace): GrammarSpec {
  switch (kind) {
    case 'json':
      return { kind: 'json_schema', schema: typeof value === 'string' ? parseJson(value, field) : value, whitespace };
    case 'regex':
      return { kind: 'regex', pattern: textOf(value, field) };
    case 'choice':
      return { kind: 'choice', choices: choicesOf(value, field) };
    case 'grammar':
      return { kind: 'ebnf', grammar: textOf(value, field) };
    case 'json_object':
      if (value !== true) throw wrongType(field, 'true or false');
      return { kind: 'json_object', whitespace };
    case 'structural_tag': {
      const tag = typeof value === 'string' ? parseJson(value, field) : value;
      if (!isObject(tag)) throw wrongType(field, 'an object');
      return structuralTag(tag, field);
    }
  }
}

function responseFormat(value: unknown, compactJson: boolean): GrammarSpec | null {
  const whitespace: { whitespace?: JsonWhitespace } = compactJson ? { whitespace: 'none' } : {};
  if (!isGiven(value)) return null;
  if (!isObject(value)) throw wrongType('response_format', 'an object');
  switch (value['type']) {
    case 'text':
      return null;
    case 'json_object':
      return { kind: 'json_object', ...whitespace };
    case 'json_schema': {
      const wrapper = value['json_schema'];
      if (!isGiven(wrapper)) {
        const message = "When response_format type is 'json_schema', the 'json_schema' field must be provided. (parameter=response_format)";
        throw new LockstepError('invalid_value', message, { param: 'response_format' });
      }
      if (!isObject(wrapper)) throw wrongType('response_format.json_schema', 'an object');
      return { kind: 'json_schema', schema: wrapper['schema'] ?? {}, ...whitespace };
    }
    case 'structural_tag':
      return structuralTag(value, 'response_format');
    default:
      throw wrongType('response_format.type', "'text', 'json_object', 'json_schema' or 'structural_tag'");
  }
}

function parseJson(text: string, field: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LockstepError('invalid_value', `${field} is not valid JSON.`, { param: field, cause });
  }
}

function choicesOf(value: unknown, field: string): string[] {
  const choices = textsOf(value, field);
  if (choices.length === 0) throw new LockstepError('invalid_value', `${field} cannot be empty.`, { param: field });
  return choices;
}
