/** Text of a regular expression (JavaScript's syntax, its `u` flag) -> tree. */
import { LockstepError } from '../errors.js';
import { allChars, type CharSet, charRange, charsOf, charsWhere, complement, union } from './char-set.js';

export type Regex =
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'sequence'; readonly items: readonly Regex[] }
  | { readonly kind: 'alternatives'; readonly items: readonly Regex[] }
  | { readonly kind: 'repeat'; readonly item: Regex; readonly min: number; readonly max: number }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' };

export const patternLenMax = 16_384;
/** Groups within groups. */
const depthMax = 200;
export const repeatMax = 10_000;

const digits = charRange(0x30, 0x39);
const words = union(digits, charRange(0x41, 0x5a), charRange(0x61, 0x7a), charsOf('_'));
const spaces = union(charRange(9, 13), charsOf(' \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff'), charRange(0x2000, 0x200a));
const lineEnds = charsOf('\n\r\u2028\u2029');
const classes: Readonly<Record<string, CharSet>> = {
  d: digits,
  D: complement(digits),
  w: words,
  W: complement(words),
  s: spaces,
  S: complement(spaces),
};
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

export function parseRegex(pattern: string): Regex {
  if (pattern.length > patternLenMax) {
    throw new LockstepError(
      'invalid_value',
      `A regular expression has ${pattern.length} characters, and at most ${patternLenMax} are allowed.`,
    );
  }
  return new Parser(pattern).parse();
}

class Parser {
  readonly #pattern: string;
  readonly #chars: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#chars = Array.from(pattern);
  }

  parse(): Regex {
    const regex = this.#alternatives();
    if (this.#at < this.#chars.length) this.#fail('has an unmatched )');
    return regex;
  }

  #fail(why: string): never {
    throw new LockstepError('invalid_value', `The regular expression ${JSON.stringify(this.#pattern.slice(0, 200))} ${why}.`);
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #take(char: string): boolean {
    if (this.#chars[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #next(): string {
    return this.#chars[this.#at++] ?? this.#fail('ends too early');
  }

  #alternatives(): Regex {
    if (++this.#depth > depthMax) this.#fail('is nested too deeply');
    const items = [this.#sequence()];
    while (this.#take('|')) items.push(this.#sequence());
    this.#depth--;
    return items.length === 1 ? items[0]! : { kind: 'alternatives', items };
  }

  #sequence(): Regex {
    const items: Regex[] = [];
    for (let char = this.#peek(); char !== undefined && char !== '|' && char !== ')'; char = this.#peek()) items.push(this.#quantified());
    return items.length === 1 ? items[0]! : { kind: 'sequence', items };
  }

  #quantified(): Regex {
    const item = this.#atom();
    const bounds = this.#bounds();
    if (bounds === null) return item;
    if (item.kind === 'start' || item.kind === 'end') this.#fail('repeats an anchor');
    this.#take('?'); // lazy: the same texts match
    if (this.#bounds() !== null) this.#fail('has nothing to repeat');
    return { kind: 'repeat', item, ...bounds };
  }

  #bounds(): { min: number; max: number } | null {
    if (this.#take('*')) return { min: 0, max: Number.POSITIVE_INFINITY };
    if (this.#take('+')) return { min: 1, max: Number.POSITIVE_INFINITY };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#peek() !== '{') return null;
    const match = /^\{(\d+)(,(\d*))?\}/.exec(this.#chars.slice(this.#at, this.#at + 24).join(''));
    if (match === null) this.#fail('has a { that begins no number of repeats');
    this.#at += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (max < min) this.#fail('has repeats out of order');
    if (min > repeatMax || (max !== Number.POSITIVE_INFINITY && max > repeatMax)) this.#fail(`repeats more than ${repeatMax} times`);
    return { min, max };
  }

  #atom(): Regex {
    const char = this.#next();
    switch (char) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'set', set: this.#class() };
      case '.':
        return { kind: 'set', set: complement(lineEnds) };
      case '^':
        return { kind: 'start' };
      case '$':
        return { kind: 'end' };
      case '\\':
        if (this.#peek() === 'b' || this.#peek() === 'B') this.#fail('asks for word boundaries, which are not supported');
        return { kind: 'set', set: this.#escape() };
      case '*':
      case '+':
      case '?':
        return this.#fail('has nothing to repeat');
      default:
        return { kind: 'set', set: charsOf(char) };
    }
  }

  #group(): Regex {
    if (this.#take('?')) {
      const kind = this.#next();
      if (kind === '=' || kind === '!') this.#fail('looks ahead, which is not supported');
      if (kind === '<' && (this.#peek() === '=' || this.#peek() === '!')) this.#fail('looks behind, which is not supported');
      if (kind === 'P' && this.#peek() !== '<') this.#fail('has a group of an unknown kind');
      if (kind === '<' || kind === 'P') while (this.#next() !== '>');
      else if (kind !== ':') this.#fail('has a group of an unknown kind');
    }
    const inner = this.#alternatives();
    if (!this.#take(')')) this.#fail('has an unmatched (');
    return inner;
  }

  #class(): CharSet {
    const negated = this.#take('^');
    const parts: CharSet[] = [];
    while (!this.#take(']')) {
      const from = this.#classItem();
      if (this.#peek() === '-' && this.#chars[this.#at + 1] !== ']' && this.#chars[this.#at + 1] !== undefined) {
        this.#at++;
        const to = this.#classItem();
        if (from.length !== 2 || from[0] !== from[1] || to.length !== 2 || to[0] !== to[1]) this.#fail('has a range without ends');
        if (from[0]! > to[0]!) this.#fail('has a range out of order');
        parts.push(charRange(from[0]!, to[0]!));
      } else parts.push(from);
    }
    const set = union(...parts);
    return negated ? complement(set) : set;
  }

  #classItem(): CharSet {
    const char = this.#next();
    if (char !== '\\') return charsOf(char);
    if (this.#take('b')) return charRange(8, 8);
    return this.#escape();
  }

  /** Behind the backslash. */
  #escape(): CharSet {
    const char = this.#next();
    const known = classes[char];
    if (known !== undefined) return known;
    if (char in controls) {
      if (char === '0' && /\d/.test(this.#peek() ?? '')) this.#fail('has an octal escape');
      return charRange(controls[char]!, controls[char]!);
    }
    if (/[1-9k]/.test(char)) this.#fail('refers back to a group, which is not supported');
    if (char === 'x') return this.#hex(2);
    if (char === 'u') return this.#take('{') ? this.#braced() : this.#unit();
    if (char === 'c') return charRange(this.#next().charCodeAt(0) % 32, this.#chars[this.#at - 1]!.charCodeAt(0) % 32);
    if (char === 'p' || char === 'P') return this.#property(char);
    if (/[A-Za-z]/.test(char)) this.#fail(`has the unknown escape \\${char}`);
    return charsOf(char);
  }

  #hex(count: number): CharSet {
    const text = this.#chars.slice(this.#at, this.#at + count).join('');
    if (text.length !== count || !/^[0-9A-Fa-f]+$/.test(text)) this.#fail('has an incomplete escape');
    this.#at += count;
    const code = Number.parseInt(text, 16);
    return [code, code];
  }

  /** Two halves of a pair are one character. */
  #unit(): CharSet {
    const [code] = this.#hex(4) as [number, number];
    if (code < 0xd800 || code > 0xdbff || this.#peek() !== '\\' || this.#chars[this.#at + 1] !== 'u') return charRange(code, code);
    this.#at += 2;
    const [low] = this.#hex(4) as [number, number];
    const whole = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
    return charRange(whole, whole);
  }

  #braced(): CharSet {
    let text = '';
    for (let char = this.#next(); char !== '}'; char = this.#next()) text += char;
    if (!/^[0-9A-Fa-f]{1,6}$/.test(text) || Number.parseInt(text, 16) > allChars.at(-1)!) this.#fail('has an incomplete escape');
    return charRange(Number.parseInt(text, 16), Number.parseInt(text, 16));
  }

  #property(kind: string): CharSet {
    if (!this.#take('{')) this.#fail('has an incomplete escape');
    let name = '';
    for (let char = this.#next(); char !== '}'; char = this.#next()) name += char;
    let test: RegExp;
    try {
      test = new RegExp(`^\\${kind}{${name}}$`, 'u');
    } catch {
      return this.#fail(`has the unknown property ${name}`);
    }
    return charsWhere((char) => test.test(char));
  }
}
