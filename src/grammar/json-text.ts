/** The parts of JSON text that every schema is made of: white space, strings, any value. */
import { anyExcept, type CharDfa, complementDfa, intersectDfas, lengthBetween } from './char-dfa.js';
import { formatDfa } from './formats.js';
import { anyNumber } from './json-numbers.js';
import { jsonLiterals, type Literals } from './literals.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';
import type { JsonWhitespace } from './spec.js';

/** A line break and this much indentation: a model that indents for ever would never come to an end. */
const indentMax = 40;

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
  const dfas = [
    ...patterns.map(found),
    ...formats.flatMap((name) => formatDfa(name) ?? []),
    ...exceptPatterns.map((pattern) => complementDfa(found(pattern))),
  ];
  if (minLength > 0 || maxLength !== Number.POSITIVE_INFINITY) dfas.push(lengthBetween(minLength, maxLength));
  if (except.length > 0) dfas.push(anyExcept(except));
  return dfas.length === 0 ? null : dfas.reduce(intersectDfas);
}

export class JsonText {
  readonly space: Piece;
  readonly comma: Piece;
  readonly colon: Piece;
  readonly string: Piece;
  readonly #literals: Literals;
  #value: Piece | null = null;
  #object: Piece | null = null;

  constructor(
    readonly rules: Rules,
    space: JsonWhitespace,
    literals = jsonLiterals,
  ) {
    this.#literals = literals;
    const any = space === 'any';
    this.space = any ? rules.define(rules.chars(whitespace, 'utf8')) : rules.empty;
    this.comma = any ? rules.sequence(this.space, rules.text(','), this.space) : rules.text(literals.comma);
    this.colon = any ? rules.sequence(this.space, rules.text(':'), this.space) : rules.text(literals.colon);
    this.string = rules.define(literals.string(rules, null));
  }

  /** A value that holds no others. */
  scalar(value: unknown): Piece {
    const { rules } = this;
    if (typeof value === 'string') return this.#literals.text(rules, value);
    if (value === null || typeof value === 'boolean') return rules.text(this.#literals.words[String(value) as 'null']);
    return rules.text(JSON.stringify(value));
  }

  key(name: string): Piece {
    return this.#literals.key(this.rules, name);
  }

  /** A string with one of the texts of `dfa`; null: any. */
  stringOf(dfa: CharDfa | null): Piece {
    return dfa === null ? this.string : this.#literals.string(this.rules, dfa);
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
    const words = [true, false, null].map((word) => this.scalar(word));
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
