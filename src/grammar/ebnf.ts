/**
 * Grammars in EBNF as llama.cpp (GBNF) and xgrammar write it -> rules. `name ::= …`, texts in quotes, classes in brackets, groups, `|`, and
 * `*`, `+`, `?`, `{m,n}` behind an element; `#` begins a remark. The whole is the rule `root`. A rule that begins with itself is turned into
 * a repetition where it does so directly, and refused where it does so by way of others.
 */
import { LockstepError } from '../errors.js';
import { allChars, type CharSet, charRange, charsOf, complement, union } from './char-set.js';
import type { Piece, Rules } from './pieces.js';

export const ebnfCharsMax = 256 * 1024;
const depthMax = 200;
const repeatMax = 10_000;

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'alternatives'; readonly items: readonly Node[] }
  | { readonly kind: 'repeat'; readonly item: Node; readonly min: number; readonly max: number };

const fail = (why: string): never => {
  throw new LockstepError('invalid_value', `The EBNF grammar ${why}.`);
};

export function ebnf(rules: Rules, grammar: string): Piece {
  if (grammar.length > ebnfCharsMax) fail(`has ${grammar.length} characters, and at most ${ebnfCharsMax} are allowed`);
  const parsed = new EbnfParser(grammar).parse();
  if (!parsed.has('root')) fail('has no rule `root`');
  const ids = new Map([...parsed.keys()].map((name) => [name, rules.declare()]));
  const piece = (node: Node): Piece => {
    switch (node.kind) {
      case 'text':
        return rules.marker(node.text);
      case 'set':
        return rules.oneOf(node.set);
      case 'rule':
        return rules.call(ids.get(node.name) ?? fail(`has no rule \`${node.name}\``));
      case 'sequence':
        return rules.sequence(...node.items.map(piece));
      case 'alternatives':
        return rules.either(...node.items.map(piece));
      case 'repeat':
        return rules.repeat(piece(node.item), node.min, node.max);
    }
  };
  for (const [name, node] of parsed) rules.body(ids.get(name)!, piece(withoutLeftRecursion(name, node)));
  return rules.call(ids.get('root')!);
}

/** a ::= a x | y is a ::= y x*. */
function withoutLeftRecursion(name: string, node: Node): Node {
  const ways = node.kind === 'alternatives' ? node.items : [node];
  const tails: Node[] = [];
  const others: Node[] = [];
  for (const way of ways) {
    const items = way.kind === 'sequence' ? way.items : [way];
    const [first] = items;
    if (first?.kind === 'rule' && first.name === name) tails.push({ kind: 'sequence', items: items.slice(1) });
    else others.push(way);
  }
  if (tails.length === 0) return node;
  const repeated: Node = { kind: 'repeat', item: { kind: 'alternatives', items: tails }, min: 0, max: Number.POSITIVE_INFINITY };
  return { kind: 'sequence', items: [{ kind: 'alternatives', items: others }, repeated] };
}

class EbnfParser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Map<string, Node> {
    const rules = new Map<string, Node>();
    for (this.#skip(); this.#at < this.#text.length; this.#skip()) {
      const name = this.#ruleHead() ?? this.#fail('a rule (`name ::= …`) was expected');
      if (rules.has(name)) fail(`has two rules \`${name}\``);
      rules.set(name, this.#alternatives());
    }
    return rules;
  }

  #fail(why: string): never {
    const line = this.#text.slice(0, this.#at).split('\n').length;
    return fail(`cannot be read: ${why} in line ${line}`);
  }

  #skip(): void {
    while (this.#match(/\s+|#[^\n]*/y) !== null);
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match !== null) this.#at += match[0].length;
    return match;
  }

  /** The name before `::=`, which is passed over; null, and nothing is passed over, where there is none. */
  #ruleHead(): string | null {
    return this.#match(/([A-Za-z_][\w.-]*)\s*::=/y)?.[1] ?? null;
  }

  #alternatives(): Node {
    if (++this.#depth > depthMax) this.#fail('groups are nested too deeply');
    const items = [this.#sequence()];
    for (this.#skip(); this.#match(/\|/y) !== null; this.#skip()) items.push(this.#sequence());
    this.#depth--;
    return items.length === 1 ? items[0]! : { kind: 'alternatives', items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    for (this.#skip(); !this.#isEnd(); this.#skip()) items.push(this.#quantified());
    return items.length === 1 ? items[0]! : { kind: 'sequence', items };
  }

  #isEnd(): boolean {
    const start = this.#at;
    if (start >= this.#text.length || '|)'.includes(this.#text[start]!)) return true;
    const next = this.#ruleHead() !== null;
    this.#at = start;
    return next;
  }

  #quantified(): Node {
    let item = this.#element();
    for (;;) {
      const match = this.#match(/\s*(?:([*+?])|\{\s*(\d+)\s*(,\s*(\d*)\s*)?\})/y);
      if (match === null) return item;
      const min = match[1] !== undefined ? (match[1] === '+' ? 1 : 0) : Number(match[2]);
      const open = match[1] !== undefined ? match[1] !== '?' : match[3] !== undefined && match[4] === '';
      const max = open ? Number.POSITIVE_INFINITY : match[1] === '?' ? 1 : match[3] === undefined ? min : Number(match[4]);
      if (max < min || min > repeatMax || (!open && max > repeatMax)) this.#fail(`repeats must be in order, and at most ${repeatMax}`);
      item = { kind: 'repeat', item, min, max };
    }
  }

  #element(): Node {
    const char = this.#text[this.#at]!;
    if (char === '"' || char === "'") {
      this.#at++;
      let text = '';
      while (this.#match(char === '"' ? /"/y : /'/y) === null) text += this.#char();
      return { kind: 'text', text };
    }
    if (char === '[') {
      this.#at++;
      return { kind: 'set', set: this.#class() };
    }
    if (char === '(') {
      this.#at++;
      if (this.#match(/=/y) !== null) this.#fail('looking ahead is not supported');
      const inner = this.#alternatives();
      if (this.#match(/\)/y) === null) this.#fail('a ) is missing');
      return inner;
    }
    if (char === '.') {
      this.#at++;
      return { kind: 'set', set: allChars };
    }
    const name = this.#match(/[A-Za-z_][\w.-]*/y)?.[0] ?? this.#fail(`${JSON.stringify(char)} has no meaning`);
    // A group behind a rule stands apart from it; what stands close is a macro of xgrammar.
    if (this.#text[this.#at] === '(') this.#fail(`the macro ${name} is not supported`);
    return { kind: 'rule', name };
  }

  /** One character of a text or a class, escapes read. */
  #char(): string {
    const escaped = this.#match(/\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([\s\S]))/y);
    if (escaped !== null) {
      const hex = escaped[1] ?? escaped[2] ?? escaped[3];
      if (hex !== undefined) {
        const code = Number.parseInt(hex, 16);
        if (code > 0x10ffff) this.#fail('an escape is no character');
        return String.fromCodePoint(code);
      }
      const named: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', 0: '\0' };
      return named[escaped[4]!] ?? escaped[4]!;
    }
    const code = this.#text.codePointAt(this.#at) ?? this.#fail('the text ends too early');
    this.#at += String.fromCodePoint(code).length;
    return String.fromCodePoint(code);
  }

  #class(): CharSet {
    const negated = this.#match(/\^/y) !== null;
    const parts: CharSet[] = [];
    while (this.#match(/\]/y) === null) {
      const from = this.#char();
      if (this.#match(/-(?=[^\]])/y) === null) {
        parts.push(charsOf(from));
        continue;
      }
      const [lo, hi] = [from.codePointAt(0)!, this.#char().codePointAt(0)!];
      if (hi < lo) this.#fail('a range is out of order');
      parts.push(charRange(lo, hi));
    }
    const set = union(...parts);
    return negated ? complement(set) : set;
  }
}
