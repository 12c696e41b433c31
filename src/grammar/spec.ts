/**
 * What an output must be, as plain data: `api/` makes it of a request, `compile.ts` makes an automaton of it. A grammar is over the bytes of
 * the output's text; the sequence may end where the grammar is complete, and nowhere else.
 */
import type { WrittenArguments } from '../parsing/tool-format.js';

export type GrammarSpec =
  /** Any JSON object. */
  | { readonly kind: 'json_object'; readonly whitespace?: JsonWhitespace }
  | JsonSchemaSpec
  | ArgumentsSpec
  /** The whole output matches (anchored at both ends); JavaScript's syntax of regular languages. */
  | { readonly kind: 'regex'; readonly pattern: string }
  /** Exactly one of these texts. */
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  /** GBNF, as llama.cpp and xgrammar write it; begins at the rule `root`. */
  | { readonly kind: 'ebnf'; readonly grammar: string }
  | { readonly kind: 'literal'; readonly text: string }
  | FreeText
  /** One after the other. */
  | { readonly kind: 'sequence'; readonly elements: readonly GrammarSpec[] }
  | { readonly kind: 'any_of'; readonly elements: readonly GrammarSpec[] }
  /** So many of it; `most` null: any number. */
  | { readonly kind: 'repeat'; readonly element: GrammarSpec; readonly least: number; readonly most: number | null }
  | TagSpec
  | TriggeredTags
  | SeparatedTags
  | FieldSpec;

/** What a field of the request asks for: what is wrong with it names the field. */
export interface FieldSpec {
  readonly kind: 'field';
  readonly name: string;
  readonly grammar: GrammarSpec;
}

/** any: as the model likes it, up to a bound; none: separated by `, ` and `: ` and nothing else. Left out: any. */
export type JsonWhitespace = 'any' | 'none';

export interface JsonSchemaSpec {
  readonly kind: 'json_schema';
  /** A JSON Schema: an object or a boolean. Refused by name where it asks for what the grammar cannot promise. */
  readonly schema: unknown;
  readonly whitespace?: JsonWhitespace;
  /** Objects without `additionalProperties` take no others. Left out: true, as OpenAI's strict mode and xgrammar have it. */
  readonly closedObjects?: boolean;
}

/** The arguments of a call by such a schema, as models write them that have no JSON for the whole: `parsing/` reads JSON out of them. */
export interface ArgumentsSpec {
  readonly kind: 'arguments';
  readonly schema: unknown;
  readonly form: Exclude<WrittenArguments, { kind: 'json' }>;
  readonly whitespace?: JsonWhitespace;
}

/** Any text, but none of `excludes` in it; with `until` it ends with the first occurrence of that, which is part of it. */
export interface FreeText {
  readonly kind: 'free_text';
  readonly until?: string;
  readonly excludes?: readonly string[];
}

/** `begin`, then what `content` says, then `end`. Where a marker is a special token of the model, that token stands for it as well. */
export interface TagSpec {
  readonly kind: 'tag';
  readonly begin: string;
  readonly content: GrammarSpec;
  readonly end: string;
}

/**
 * Free text in which a trigger can only be the beginning of one of the tags (each tag's `begin` starts with one of the triggers). The
 * text may end anywhere outside of a tag.
 */
export interface TriggeredTags {
  readonly kind: 'triggered_tags';
  readonly triggers: readonly string[];
  readonly tags: readonly TagSpec[];
  /** No text but a tag comes first, so that there is one. */
  readonly atLeastOne: boolean;
  /** Nothing comes after the first tag. */
  readonly stopAfterFirst: boolean;
  /** None of these in the free text. */
  readonly excludes?: readonly string[];
}

/** Tags and nothing else: with `atLeastOne` and `stopAfterFirst` exactly one. */
export interface SeparatedTags {
  readonly kind: 'tags';
  readonly tags: readonly TagSpec[];
  readonly separator: string;
  readonly atLeastOne: boolean;
  readonly stopAfterFirst: boolean;
}

/** Any text up to the end of the reasoning (`</think>`), then what `grammar` says. */
export function afterReasoning(endMarker: string, grammar: GrammarSpec): GrammarSpec {
  return { kind: 'sequence', elements: [{ kind: 'free_text', until: endMarker }, grammar] };
}

/** The field that asks for the whole, or for the first part of it that a field asks for; null: none. */
export function fieldOf(spec: GrammarSpec): string | null {
  if (spec.kind === 'field') return spec.name;
  if (spec.kind !== 'sequence' && spec.kind !== 'any_of') return null;
  for (const each of spec.elements) {
    const field = fieldOf(each);
    if (field !== null) return field;
  }
  return null;
}
