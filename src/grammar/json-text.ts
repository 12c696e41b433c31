/** The parts of JSON text that every schema is made of: white space, strings, any value. */
import { anyExcept, type CharDfa, complementDfa, intersectDfas, lengthBetween } from './char-dfa.js';
import { formatPatterns } from './formats.js';
import { anyNumber } from './json-numbers.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import type { JsonWhitespace } from './spec.js';

/** A line break and this much indentation: a model that indents for ever would never come to an end. */
const indentMax = 40;

/** Any string, in every way to write it with these letters behind a backslash; pairs of surrogates whole, so that it is text. */
const anyString = (letters: string) => {
  const unicode = 'u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})';
  return regexDfa(`"(?:[^"\\\\\\x00-\\x1f]|\\\\[${letters}]|\\\\${unicode})*"`, { search: false });
};
const whitespace = regexDfa(`(?:\\r?\\n)?[ \\t]{0,${indentMax}}`, { search: false });

export interface StringLimits {
  readonly minLength: number;
  /** May be infinite. */
  readonly maxLength: number;
  readonly patterns: readonly string[];
  readonly formats: readonly string[];
  /** Texts that it must not be, and patterns of which none must be found in it. */
  readonly except: readonly string[];
  readonly exceptPatterns: readonly string[];
}

export const anyText: StringLimits = {
  minLength: 0,
  maxLength: Number.POSITIVE_INFINITY,
  patterns: [],
  formats: [],
  except: [],
  exceptPatterns: [],
};

/** Texts that a string may be; null: any. */
export function stringDfa({ minLength, maxLength, patterns, formats, except, exceptPatterns }: StringLimits): CharDfa | null {
  const found = (pattern: string) => regexDfa(pattern, { search: true });
  const dfas = [...patterns.map(found), ...formats.map(formatDfa), ...exceptPatterns.map((pattern) => complementDfa(found(pattern)))];
  if (minLength > 0 || maxLength !== Number.POSITIVE_INFINITY) dfas.push(lengthBetween(minLength, maxLength));
  if (except.length > 0) dfas.push(anyExcept(except));
  return dfas.length === 0 ? null : dfas.reduce(intersectDfas);
}

const formatDfa = (name: string) => regexDfa(formatPatterns[name]!, { search: false });

/** Python's literals differ in three words, and in that `/` is not escaped. */
const dialects = {
  json: { true: 'true', false: 'false', null: 'null', string: anyString('"\\\\/bfnrt') },
  python: { true: 'True', false: 'False', null: 'None', string: anyString('"\\\\bfnrt') },
} as const;
export type Dialect = keyof typeof dialects;

export class JsonText {
  readonly space: Piece;
  readonly comma: Piece;
  readonly colon: Piece;
  readonly string: Piece;
  readonly #dialect: (typeof dialects)[Dialect];
  #value: Piece | null = null;
  #object: Piece | null = null;

  constructor(
    readonly rules: Rules,
    space: JsonWhitespace,
    dialect: Dialect,
  ) {
    this.#dialect = dialects[dialect];
    const any = space === 'any';
    this.space = any ? rules.define(rules.chars(whitespace, 'utf8')) : rules.empty;
    this.comma = any ? rules.sequence(this.space, rules.text(','), this.space) : rules.text(', ');
    this.colon = any ? rules.sequence(this.space, rules.text(':'), this.space) : rules.text(': ');
    this.string = rules.define(rules.chars(this.#dialect.string, 'utf8'));
  }

  /** A value that holds no others. */
  scalar(value: unknown): string {
    if (value === null) return this.#dialect.null;
    if (typeof value === 'boolean') return this.#dialect[value ? 'true' : 'false'];
    return JSON.stringify(value);
  }

  /** A string with one of the texts of `dfa`; null: any. */
  stringOf(dfa: CharDfa | null): Piece {
    if (dfa === null) return this.string;
    const quote = this.rules.text('"');
    return this.rules.sequence(quote, this.rules.chars(dfa, 'json'), quote);
  }

  /** `{`, what `members` say, `}`. */
  braces(open: string, members: Piece, close: string): Piece {
    return this.rules.sequence(this.rules.text(open), this.space, members, this.space, this.rules.text(close));
  }

  /** least … most of `item`, which may be infinite, with commas between. */
  list(item: Piece, least: number, most: number, comma = this.comma): Piece {
    const { rules } = this;
    if (most < least) return rules.either();
    if (most === 0) return rules.empty;
    const some = rules.sequence(item, rules.repeat(rules.sequence(comma, item), Math.max(0, least - 1), most - 1));
    return least === 0 ? rules.optional(some) : some;
  }

  /** Any JSON value. */
  get value(): Piece {
    if (this.#value !== null) return this.#value;
    const { rules } = this;
    const id = rules.declare();
    this.#value = rules.call(id);
    const words = [true, false, null].map((word) => rules.text(this.scalar(word)));
    const array = this.braces('[', this.list(this.#value, 0, Number.POSITIVE_INFINITY), ']');
    rules.body(id, rules.either(this.object, array, this.string, rules.chars(anyNumber, 'utf8'), ...words));
    return this.#value;
  }

  /** Any JSON object. */
  get object(): Piece {
    if (this.#object !== null) return this.#object;
    const { rules } = this;
    const id = rules.declare();
    this.#object = rules.call(id);
    const member = rules.sequence(this.string, this.colon, this.value);
    rules.body(id, this.braces('{', this.list(member, 0, Number.POSITIVE_INFINITY), '}'));
    return this.#object;
  }
}
