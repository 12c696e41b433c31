/**
 * Regular languages over characters, as deterministic automata: what a string, a number or a text between markers may be, before it is
 * decided how it is written in bytes (`pieces.ts`). Every state can reach an end, so that nothing leads nowhere.
 */
import { LockstepError } from '../errors.js';
import { allChars, type CharSet, complement, union } from './char-set.js';

export interface CharDfa {
  /** -1: the language is empty. */
  readonly start: number;
  /** [states] lo, hi, target, lo, hi, target, …; disjoint. */
  readonly edges: readonly (readonly number[])[];
  readonly final: readonly boolean[];
}

/** Most states of one language; a bound of a few thousand characters on a string comes near it. */
export const charStatesMax = 20_000;

export interface CharEdge<S> {
  readonly lo: number;
  readonly hi: number;
  readonly to: S;
}

export const tooLarge = (what: string) =>
  new LockstepError('invalid_value', `The grammar is too large: ${what}. Use a simpler one, or smaller bounds.`);

/** The automaton of everything that is reached from `start`. `key` tells states apart. */
export function explore<S>(
  start: S,
  key: (state: S) => string,
  edgesOf: (state: S) => readonly CharEdge<S>[],
  isFinal: (state: S) => boolean,
): CharDfa {
  return exploreStates(start, key, edgesOf, isFinal).dfa;
}

/** The same, with what each state of the automaton stands for. */
export function exploreStates<S>(
  start: S,
  key: (state: S) => string,
  edgesOf: (state: S) => readonly CharEdge<S>[],
  isFinal: (state: S) => boolean,
): { dfa: CharDfa; states: readonly S[] } {
  const ids = new Map<string, number>();
  const states: S[] = [];
  const idOf = (state: S): number => {
    const name = key(state);
    const known = ids.get(name);
    if (known !== undefined) return known;
    if (states.length >= charStatesMax) throw tooLarge(`a text of it takes more than ${charStatesMax} states`);
    ids.set(name, states.length);
    return states.push(state) - 1;
  };
  idOf(start);
  const edges: number[][] = [];
  for (let i = 0; i < states.length; i++) edges.push(edgesOf(states[i]!).flatMap(({ lo, hi, to }) => [lo, hi, idOf(to)]));
  return { dfa: trim({ start: 0, edges, final: states.map(isFinal) }), states };
}

/** Without the states from which no end can be reached. */
function trim({ start, edges, final }: CharDfa): CharDfa {
  const sources: number[][] = edges.map(() => []);
  for (const [from, list] of edges.entries()) for (let i = 2; i < list.length; i += 3) sources[list[i]!]!.push(from);
  const alive = final.slice();
  const open = [...alive.keys()].filter((state) => alive[state]);
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const source of sources[state]!) {
      if (!alive[source]) open.push(source);
      alive[source] = true;
    }
  }
  if (!alive[start]) return { start: -1, edges: [], final: [] };
  const kept = edges.map((list) => {
    const out: number[] = [];
    for (let i = 0; i < list.length; i += 3) if (alive[list[i + 2]!]) out.push(list[i]!, list[i + 1]!, list[i + 2]!);
    return out;
  });
  return { start, edges: kept, final };
}

export function intersectDfas(a: CharDfa, b: CharDfa): CharDfa {
  if (a.start < 0 || b.start < 0) return { start: -1, edges: [], final: [] };
  return explore<readonly [number, number]>(
    [a.start, b.start],
    (pair) => pair.join(),
    ([p, q]) => {
      const out: CharEdge<readonly [number, number]>[] = [];
      const [left, right] = [a.edges[p]!, b.edges[q]!];
      for (let i = 0; i < left.length; i += 3) {
        for (let j = 0; j < right.length; j += 3) {
          const [lo, hi] = [Math.max(left[i]!, right[j]!), Math.min(left[i + 1]!, right[j + 1]!)];
          if (lo <= hi) out.push({ lo, hi, to: [left[i + 2]!, right[j + 2]!] });
        }
      }
      return out;
    },
    ([p, q]) => a.final[p]! && b.final[q]!,
  );
}

export function accepts(dfa: CharDfa, text: string): boolean {
  let state = dfa.start;
  for (const char of text) {
    if (state < 0) return false;
    const code = char.codePointAt(0)!;
    const edges = dfa.edges[state]!;
    let to = -1;
    for (let i = 0; i < edges.length; i += 3) if (edges[i]! <= code && code <= edges[i + 1]!) to = edges[i + 2]!;
    state = to;
  }
  return state >= 0 && dfa.final[state]!;
}

/** Every text that is not of `dfa`. */
export function complementDfa(dfa: CharDfa): CharDfa {
  const beyond = -1;
  return explore<number>(
    dfa.start,
    String,
    (state) => {
      if (state === beyond) return edgesOver(allChars, beyond);
      const edges = dfa.edges[state]!;
      const out: CharEdge<number>[] = [];
      const inside: number[] = [];
      for (let i = 0; i < edges.length; i += 3) {
        out.push({ lo: edges[i]!, hi: edges[i + 1]!, to: edges[i + 2]! });
        inside.push(edges[i]!, edges[i + 1]!);
      }
      return [...out, ...edgesOver(complement(union(inside)), beyond)];
    },
    (state) => state === beyond || !dfa.final[state],
  );
}

const edgesOver = <S>(set: CharSet, to: S): CharEdge<S>[] => {
  const out: CharEdge<S>[] = [];
  for (let i = 0; i < set.length; i += 2) out.push({ lo: set[i]!, hi: set[i + 1]!, to });
  return out;
};

/** Any characters, so many of them; `most` may be infinite. */
export function lengthBetween(least: number, most: number): CharDfa {
  const last = Number.isFinite(most) ? most : least;
  return explore<number>(
    0,
    String,
    (count) => (count < last ? edgesOver(allChars, count + 1) : Number.isFinite(most) ? [] : edgesOver(allChars, count)),
    (count) => count >= least,
  );
}

/** Any text but these. */
export function anyExcept(texts: readonly string[]): CharDfa {
  const elsewhere = '\u0000elsewhere';
  return explore<string>(
    texts.length === 0 ? elsewhere : '',
    (state) => state,
    (state) => {
      if (state === elsewhere) return edgesOver(allChars, elsewhere);
      const next = new Map<number, string>();
      for (const text of texts) {
        if (!text.startsWith(state) || text === state) continue;
        const code = text.codePointAt(state.length)!;
        next.set(code, state + String.fromCodePoint(code));
      }
      // A text that ends here may be excluded itself and begin no other: then it goes on as any does.
      return splitBy(next, (code) => (code === null ? elsewhere : next.get(code)!));
    },
    (state) => state === elsewhere || !texts.includes(state),
  );
}

/** All characters: those of `apart` each to its own place, the others to that of null. */
export function splitBy<S>(apart: ReadonlyMap<number, unknown>, place: (code: number | null) => S): CharEdge<S>[] {
  const codes = [...apart.keys()].sort((a, b) => a - b);
  const out: CharEdge<S>[] = [];
  for (let i = 0; i < allChars.length; i += 2) {
    let next = allChars[i]!;
    const hi = allChars[i + 1]!;
    for (const code of codes) {
      if (code < next || code > hi) continue;
      if (code > next) out.push({ lo: next, hi: code - 1, to: place(null) });
      out.push({ lo: code, hi: code, to: place(code) });
      next = code + 1;
    }
    if (next <= hi) out.push({ lo: next, hi, to: place(null) });
  }
  return out;
}
