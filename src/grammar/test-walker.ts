/** For tests of this room: runs a compiled grammar over bytes, in the plainest way. The ranks' own way is `native/common/grammar.cpp`. */
import { compileGrammar } from './compile.js';
import type { GrammarSpec } from './spec.js';

interface Stack {
  readonly state: number;
  readonly below: Stack | null;
}

export class Walker {
  readonly #words: Int32Array;
  readonly #numStates: number;
  readonly #numClasses: number;
  readonly #table: number;
  readonly #root: number;
  #at: Stack[] = [];
  complete = false;

  constructor(spec: GrammarSpec, specialTokens: ReadonlyMap<string, number> = new Map()) {
    const words = compileGrammar(spec, specialTokens);
    this.#words = words;
    const [, numStates, numClasses, numRules, root] = words;
    this.#numStates = numStates!;
    this.#numClasses = numClasses!;
    this.#root = root!;
    this.#table = 5 + 256 + numRules!;
    this.reset();
  }

  reset(): void {
    this.#settle([{ state: this.#words[5 + 256 + this.#root]!, below: null }]);
  }

  /** Bytes that may come next. */
  next(): number[] {
    return Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => this.#at.some((stack) => this.#target(stack.state, byte) >= 0));
  }

  /** Whether the byte may come; if so it has come. */
  push(byte: number): boolean {
    const moved = this.#at.filter(({ state }) => this.#target(state, byte) >= 0);
    if (moved.length === 0) return false;
    this.#settle(moved.map(({ state, below }) => ({ state: this.#target(state, byte), below })));
    return true;
  }

  pushToken(id: number): boolean {
    const moved = this.#at.flatMap(({ state, below }) =>
      this.#pairs(state, 'tokens')
        .filter(([token]) => token === id)
        .map(([, to]) => ({ state: to, below })),
    );
    if (moved.length > 0) this.#settle(moved);
    return moved.length > 0;
  }

  #target(state: number, byte: number): number {
    return this.#words[this.#table + state * this.#numClasses + this.#words[5 + byte]!]!;
  }

  #isFinal(state: number): boolean {
    return this.#words[this.#table + this.#numStates * this.#numClasses + state] === 1;
  }

  #pairs(state: number, kind: 'calls' | 'tokens'): [number, number][] {
    const words = this.#words;
    const callStart = this.#table + this.#numStates * (this.#numClasses + 1);
    const tokenStart = callStart + this.#numStates + 1;
    const calls = tokenStart + this.#numStates + 1;
    const starts = kind === 'calls' ? callStart : tokenStart;
    const base = kind === 'calls' ? calls : calls + 2 * words[callStart + this.#numStates]!;
    const out: [number, number][] = [];
    for (let i = words[starts + state]!; i < words[starts + state + 1]!; i++) out.push([words[base + 2 * i]!, words[base + 2 * i + 1]!]);
    return out;
  }

  #settle(stacks: readonly Stack[]): void {
    this.complete = false;
    const seen = new Set<string>();
    const open = [...stacks];
    this.#at = [];
    for (let stack = open.pop(); stack !== undefined; stack = open.pop()) {
      const name = nameOf(stack);
      if (seen.has(name)) continue;
      seen.add(name);
      this.#at.push(stack);
      for (const [rule, to] of this.#pairs(stack.state, 'calls')) {
        open.push({ state: this.#words[5 + 256 + rule]!, below: { state: to, below: stack.below } });
      }
      if (!this.#isFinal(stack.state)) continue;
      if (stack.below === null) this.complete = true;
      else open.push(stack.below);
    }
  }
}

function nameOf(stack: Stack | null): string {
  let name = '';
  for (let at = stack; at !== null; at = at.below) name += `${at.state},`;
  return name;
}

/** Whether the whole text satisfies the grammar. */
export function accepts(walker: Walker, text: string): boolean {
  walker.reset();
  return [...new TextEncoder().encode(text)].every((byte) => walker.push(byte)) && walker.complete;
}

/** A text of the grammar, byte by byte as `choose` says: the index of one of so many ways; the end, where it is allowed, is the last of them. */
export function generate(walker: Walker, choose: (count: number) => number, bytesMax = 20_000): string | null {
  walker.reset();
  const bytes: number[] = [];
  while (bytes.length < bytesMax) {
    const next = walker.next();
    const pick = choose(next.length + (walker.complete ? 1 : 0));
    if (pick >= next.length) return Buffer.from(bytes).toString('utf8');
    bytes.push(next[pick]!);
    walker.push(next[pick]!);
  }
  return null;
}
