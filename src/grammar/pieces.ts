/**
 * A grammar as rules over bytes, put together of pieces: a piece adds its states behind a state and says where it ends. Rules call rules;
 * `automaton.ts` makes each of them deterministic.
 */
import { type CharDfa, tooLarge } from './char-dfa.js';
import type { CharSet } from './char-set.js';
import { type ByteRange, encodeJson, encodeUtf8 } from './encode.js';

/** By state, of the few that have any. */
export type ByState<T> = Map<number, T[]>;

export function addTo<T>(lists: ByState<T>, state: number, item: T): void {
  const list = lists.get(state);
  if (list === undefined) lists.set(state, [item]);
  else list.push(item);
}

/** One rule, not yet deterministic. State 0 is its start. */
export interface RuleNfa {
  readonly silent: ByState<number>;
  /** [states] lo, hi, target, lo, hi, target, …: flat, as long strings with a bound have 10^5 states. */
  readonly bytes: number[][];
  readonly calls: ByState<{ readonly rule: number; readonly to: number }>;
  /** A special token of the model, by id. */
  readonly tokens: ByState<{ readonly id: number; readonly to: number }>;
  end: number;
}

/** Adds itself behind `from` and returns the state that it ends in. */
export type Piece = (rule: RuleNfa, from: number) => number;

const backslash = 0x5c;

/** `encode`, which gives the same for the same: the states of a string with a bound are all alike. */
function waysOf(encode: typeof encodeUtf8): typeof encodeUtf8 {
  const known = new Map<number, ByteRange[][]>();
  return (lo, hi) => {
    const name = lo * 0x200000 + hi;
    let ways = known.get(name);
    if (ways === undefined) known.set(name, (ways = encode(lo, hi)));
    return ways;
  };
}

export const rulesMax = 5_000;
/** States of all rules before they are made deterministic. */
export const piecesMax = 400_000;

/** The rules of one grammar. */
export class Rules {
  readonly list: RuleNfa[] = [];
  #numStates = 0;

  /** `specialTokens`: id by text, of the model's tokens that are no text. */
  constructor(readonly specialTokens: ReadonlyMap<string, number>) {}

  /** A rule whose body comes later, so that it can call itself. */
  declare(): number {
    if (this.list.length >= rulesMax) throw tooLarge(`it takes more than ${rulesMax} rules`);
    return this.list.push({ silent: new Map(), bytes: [], calls: new Map(), tokens: new Map(), end: -1 }) - 1;
  }

  body(id: number, piece: Piece): void {
    const rule = this.list[id]!;
    rule.end = piece(rule, this.state(rule));
  }

  define(piece: Piece): Piece {
    const id = this.declare();
    this.body(id, piece);
    return this.call(id);
  }

  state(rule: RuleNfa): number {
    if (++this.#numStates > piecesMax) throw tooLarge(`it takes more than ${piecesMax} states`);
    return rule.bytes.push([]) - 1;
  }

  readonly empty: Piece = (_, from) => from;

  call(id: number): Piece {
    return (rule, from) => {
      const to = this.state(rule);
      addTo(rule.calls, from, { rule: id, to });
      return to;
    };
  }

  sequence(...pieces: readonly Piece[]): Piece {
    return (rule, from) => pieces.reduce((at, piece) => piece(rule, at), from);
  }

  /** One of them; of none of them there is no text at all. */
  either(...pieces: readonly Piece[]): Piece {
    return (rule, from) => {
      const to = this.state(rule);
      for (const piece of pieces) addTo(rule.silent, piece(rule, this.#behind(rule, from)), to);
      return to;
    };
  }

  optional(piece: Piece): Piece {
    return this.either(piece, this.empty);
  }

  /** `most` may be infinite. */
  repeat(piece: Piece, least: number, most: number): Piece {
    return (rule, from) => {
      let at = from;
      for (let i = 0; i < least; i++) at = piece(rule, at);
      const to = this.state(rule);
      if (most === Number.POSITIVE_INFINITY) {
        const loop = this.#behind(rule, at);
        addTo(rule.silent, piece(rule, loop), loop);
        addTo(rule.silent, loop, to);
        return to;
      }
      for (let i = least; i < most; i++) {
        addTo(rule.silent, at, to);
        at = piece(rule, this.#behind(rule, at));
      }
      addTo(rule.silent, at, to);
      return to;
    };
  }

  text(text: string): Piece {
    return (rule, from) => this.#bytes(rule, from, text).at(-1)!;
  }

  /** A text for which, or for parts of which, special tokens of the model may stand that have that text. */
  marker(text: string): Piece {
    return (rule, from) => {
      const states = this.#bytes(rule, from, text);
      for (const [token, id] of this.specialTokens) {
        for (let at = text.indexOf(token); at >= 0; at = text.indexOf(token, at + 1)) {
          const first = Buffer.byteLength(text.slice(0, at));
          addTo(rule.tokens, states[first]!, { id, to: states[first + Buffer.byteLength(token)]! });
        }
      }
      return states.at(-1)!;
    };
  }

  /** Texts of an automaton, as they stand or as JSON writes them within quotes. */
  chars(dfa: CharDfa, as: 'utf8' | 'json'): Piece {
    return (rule, from) => {
      const to = this.state(rule);
      const states = this.charStates(rule, dfa, as);
      if (dfa.start < 0) return to;
      addTo(rule.silent, from, states[dfa.start]!);
      for (const [state, id] of states.entries()) if (dfa.final[state]) addTo(rule.silent, id, to);
      return to;
    };
  }

  /** One character of a set. */
  oneOf(set: CharSet): Piece {
    const edges: number[] = [];
    for (let i = 0; i < set.length; i += 2) edges.push(set[i]!, set[i + 1]!, 1);
    return this.chars({ start: 0, edges: [edges, []], final: [false, true] }, 'utf8');
  }

  /** The states of an automaton over characters, laid out in bytes. */
  charStates(rule: RuleNfa, dfa: CharDfa, as: 'utf8' | 'json'): number[] {
    const encode = waysOf(as === 'utf8' ? encodeUtf8 : encodeJson);
    const states = dfa.edges.map(() => this.state(rule));
    for (const [state, list] of dfa.edges.entries()) {
      // Ways of one state that share their first bytes are told apart later; those that share their last bytes are shared here.
      const tails = new Map<number, number>();
      const heads = new Map<number, number>();
      for (let i = 0; i < list.length; i += 3) {
        const to = states[list[i + 2]!]!;
        for (const way of encode(list[i]!, list[i + 1]!)) {
          if (way[0]![0] === backslash && way.length > 1) this.#escape(rule, states[state]!, way, to, heads);
          else this.#way(rule, states[state]!, way, to, tails);
        }
      }
    }
    return states;
  }

  #behind(rule: RuleNfa, from: number): number {
    const state = this.state(rule);
    addTo(rule.silent, from, state);
    return state;
  }

  /** Escapes begin alike: shared from the front, nothing of them is left to be told apart. Only their last byte may be a range. */
  #escape(rule: RuleNfa, from: number, way: readonly ByteRange[], to: number, heads: Map<number, number>): void {
    let at = from;
    for (let i = 0; i < way.length - 1; i++) {
      const byte = way[i]![0];
      const name = at * 256 + byte;
      let next = heads.get(name);
      if (next === undefined) {
        next = this.state(rule);
        heads.set(name, next);
        rule.bytes[at]!.push(byte, byte, next);
      }
      at = next;
    }
    const [lo, hi] = way.at(-1)!;
    rule.bytes[at]!.push(lo, hi, to);
  }

  #way(rule: RuleNfa, from: number, way: readonly ByteRange[], to: number, tails: Map<number, number>): void {
    let target = to;
    for (let i = way.length - 1; i > 0; i--) {
      const [lo, hi] = way[i]!;
      const name = (target * 256 + lo) * 256 + hi;
      let state = tails.get(name);
      if (state === undefined) {
        state = this.state(rule);
        rule.bytes[state]!.push(lo, hi, target);
        tails.set(name, state);
      }
      target = state;
    }
    rule.bytes[from]!.push(way[0]![0], way[0]![1], target);
  }

  /** The states before, between and behind the bytes of a text. */
  #bytes(rule: RuleNfa, from: number, text: string): number[] {
    const states = [from];
    for (const byte of new TextEncoder().encode(text)) {
      const next = this.state(rule);
      rule.bytes[states.at(-1)!]!.push(byte, byte, next);
      states.push(next);
    }
    return states;
  }
}
