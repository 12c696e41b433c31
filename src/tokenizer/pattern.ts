/**
 * The regular expressions of tokenizer.json (Oniguruma's and Rust's syntax) as JavaScript's. Only what pre-tokenizers use is translated; anything
 * else is an `UnsupportedPattern`, never a guess.
 */

export class UnsupportedPattern extends Error {}

/** `\s` of those engines is Unicode's White_Space: JavaScript's has U+FEFF besides and lacks U+0085. */
const classEscapes: Readonly<Record<string, string>> = {
  s: '\\p{White_Space}',
  S: '\\P{White_Space}',
  d: '\\p{Nd}',
  D: '\\P{Nd}',
};

const plainEscapes = 'nrtfv0';
const syntaxCharacters = '^$\\.*+?()[]{}|/';

/** What Unicode's simple case folding adds to ASCII letters. */
const foldedExtras: Readonly<Record<string, string>> = { s: '\u017f', k: '\u212a' };

/** Translates a pattern; the result has no capturing groups and is compiled with the flags `gu`. */
export function translatePattern(source: string): RegExp {
  return new RegExp(new Translator(source).alternatives(false, false), 'gu');
}

class Translator {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  /** Reads up to the end, or to the `)` of a group. */
  alternatives(ignoreCase: boolean, inGroup: boolean): string {
    let out = '';
    for (;;) {
      const char = this.#source[this.#at];
      if (char === undefined) {
        if (inGroup) throw new UnsupportedPattern(`unclosed group in ${this.#source}`);
        return out;
      }
      if (char === ')' && inGroup) return out;
      this.#at++;
      if (char === '(') out += this.#group(ignoreCase);
      else if (char === '[') out += this.#class(ignoreCase);
      else if (char === '\\') out += this.#escape(false);
      else if ('*+?}'.includes(char)) out += this.#quantifierEnd(char);
      else if ('^$)'.includes(char)) throw new UnsupportedPattern(`${char} in ${this.#source}`);
      else out += ignoreCase ? foldLiteral(char) : char === ']' ? '\\]' : char;
    }
  }

  #group(ignoreCase: boolean): string {
    const opening = /^\?(?:(:|=|!|<=|<!)|(i):)/.exec(this.#source.slice(this.#at));
    if (opening === null && this.#source[this.#at] === '?') throw new UnsupportedPattern(`group of ${this.#source.slice(this.#at - 1)}`);
    if (opening !== null) this.#at += opening[0].length;
    const body = this.alternatives(ignoreCase || opening?.[2] === 'i', true);
    this.#at++;
    return `(?${opening?.[1] ?? ':'}${body})`;
  }

  /** A second `+` would make it possessive, which JavaScript lacks. */
  #quantifierEnd(char: string): string {
    if (this.#source[this.#at] === '+') throw new UnsupportedPattern(`possessive quantifier in ${this.#source}`);
    return char;
  }

  #class(ignoreCase: boolean): string {
    let out = '[';
    if (this.#source[this.#at] === '^') out += this.#source[this.#at++];
    for (let first = true; ; first = false) {
      const char = this.#source[this.#at++];
      if (char === undefined) throw new UnsupportedPattern(`unclosed class in ${this.#source}`);
      if (char === ']' && !first) return `${out}]`;
      if (char === '[' || (char === '&' && this.#source[this.#at] === '&')) throw new UnsupportedPattern(`class set in ${this.#source}`);
      if (char === '\\') out += this.#escape(true);
      else if (ignoreCase && char === '-') throw new UnsupportedPattern(`case-insensitive range in ${this.#source}`);
      else if (ignoreCase && /[a-z]/i.test(char)) out += foldLiteral(char).slice(1, -1);
      else out += char === ']' ? '\\]' : char;
    }
  }

  #escape(inClass: boolean): string {
    const char = this.#source[this.#at++];
    if (char === undefined) throw new UnsupportedPattern(`lone \\ in ${this.#source}`);
    if (classEscapes[char] !== undefined) return classEscapes[char];
    if (char === 'p' || char === 'P') return this.#property(char);
    if (plainEscapes.includes(char) || syntaxCharacters.includes(char) || (inClass && char === '-')) return `\\${char}`;
    const code = /^x\{?([0-9a-fA-F]+)\}?|^u\{?([0-9a-fA-F]{4,6})\}?/.exec(this.#source.slice(this.#at - 1));
    if (code !== null) {
      this.#at += code[0].length - 1;
      return `\\u{${code[1] ?? code[2]}}`;
    }
    if (/[a-zA-Z0-9]/.test(char)) throw new UnsupportedPattern(`\\${char} in ${this.#source}`);
    return char;
  }

  #property(letter: string): string {
    const name = /^\{(\^?)(\w+)\}|^(\w)/.exec(this.#source.slice(this.#at));
    if (name === null) throw new UnsupportedPattern(`\\${letter} in ${this.#source}`);
    this.#at += name[0].length;
    const negated = (letter === 'P') !== (name[1] === '^');
    const property = name[2] ?? name[3]!;
    return `\\${negated ? 'P' : 'p'}{${property.length > 2 && !/^(Alphabetic|White_Space)$/.test(property) ? `Script=${property}` : property}}`;
  }
}

function foldLiteral(char: string): string {
  if (!/[a-zA-Z]/.test(char)) return char;
  const lower = char.toLowerCase();
  return `[${lower}${lower.toUpperCase()}${foldedExtras[lower] ?? ''}]`;
}
