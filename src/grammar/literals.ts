/** How the values are written that hold no others, and what stands between those that are held in one. */
import { type CharDfa, complementDfa, intersectDfas } from './char-dfa.js';
import type { Piece, Rules } from './pieces.js';
import { regexDfa } from './regex.js';

export interface Literals {
  readonly words: Readonly<Record<'true' | 'false' | 'null', string>>;
  readonly comma: string;
  readonly colon: string;
  /** A string, of the texts of `dfa`; null: any. */
  string(rules: Rules, dfa: CharDfa | null): Piece;
  /** The string that is this text. */
  text(rules: Rules, text: string): Piece;
  key(rules: Rules, name: string): Piece;
}

/** Any string, in every way to write it with these letters behind a backslash; pairs of surrogates whole, so that it is text. */
const anyString = (letters: string) => {
  const unicode = 'u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})';
  return regexDfa(`"(?:[^"\\\\\\x00-\\x1f]|\\\\[${letters}]|\\\\${unicode})*"`, { search: false });
};

/** Between double quotes, with JSON's escapes. */
function escaped(any: CharDfa): Pick<Literals, 'comma' | 'colon' | 'string' | 'text' | 'key'> {
  const text = (rules: Rules, value: string) => rules.text(JSON.stringify(value));
  return {
    comma: ', ',
    colon: ': ',
    string: (rules, dfa) =>
      dfa === null ? rules.chars(any, 'utf8') : rules.sequence(rules.text('"'), rules.chars(dfa, 'json'), rules.text('"')),
    text,
    key: text,
  };
}

export const jsonLiterals: Literals = { words: { true: 'true', false: 'false', null: 'null' }, ...escaped(anyString('"\\\\/bfnrt')) };

/** Python does not escape `/`. */
export const pythonLiterals: Literals = { words: { true: 'True', false: 'False', null: 'None' }, ...escaped(anyString('"\\\\bfnrt')) };

/** Strings as they stand between two `quote`s, which none of them has; plain keys without. */
export function quotedLiterals(quote: string): Literals {
  const inside = withoutText(quote);
  const quoted = (rules: Rules, text: Piece) => rules.sequence(rules.marker(quote), text, rules.marker(quote));
  const text = (rules: Rules, value: string) => (value.includes(quote) ? rules.either() : quoted(rules, rules.text(value)));
  return {
    words: jsonLiterals.words,
    comma: ',',
    colon: ':',
    string: (rules, dfa) => quoted(rules, rules.chars(dfa === null ? inside : intersectDfas(dfa, inside), 'utf8')),
    text,
    key: (rules, name) => (/^[A-Za-z_][\w-]*$/.test(name) ? rules.text(name) : text(rules, name)),
  };
}

/** Texts in which `part` is nowhere. */
export const withoutText = (part: string): CharDfa =>
  complementDfa(regexDfa(part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), { search: true }));
