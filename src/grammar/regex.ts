/**
 * Regular expressions in JavaScript's syntax, as far as they are regular -> automata over characters. Lookaround, back references and word
 * boundaries are refused by name; laziness has no meaning for which texts match.
 */

import { type CharDfa, type CharEdge, charStatesMax, explore, tooLarge } from './char-dfa.js';
import { allChars, type CharSet } from './char-set.js';
import { parseRegex, type Regex } from './regex-parser.js';

interface Nfa {
  /** [states] */
  readonly silent: number[][];
  readonly steps: { readonly set: CharSet; readonly to: number }[][];
  /** Steps that are taken only at the beginning and at the end of the text. */
  readonly atStart: number[][];
  readonly atEnd: number[][];
}

/** Texts that match: as a whole, or with `search` anywhere in them (as JSON Schema's `pattern` does). */
export function regexDfa(pattern: string, { search }: { readonly search: boolean }): CharDfa {
  const any: Regex = { kind: 'repeat', item: { kind: 'set', set: allChars }, min: 0, max: Number.POSITIVE_INFINITY };
  const parsed = parseRegex(pattern);
  const nfa: Nfa = { silent: [], steps: [], atStart: [], atEnd: [] };
  const start = newState(nfa);
  const end = build(nfa, search ? { kind: 'sequence', items: [any, parsed, any] } : parsed, start);
  return explore<readonly number[]>(
    close(nfa, [start], nfa.atStart),
    (subset) => subset.join(),
    (subset) => stepsOf(nfa, subset),
    (subset) => close(nfa, subset, nfa.atEnd).includes(end),
  );
}

/** States of one pattern; counted repeats multiply. */
const nfaStatesMax = 4 * charStatesMax;

function newState(nfa: Nfa): number {
  if (nfa.silent.length >= nfaStatesMax) throw tooLarge('a regular expression repeats too much');
  nfa.steps.push([]);
  nfa.atStart.push([]);
  nfa.atEnd.push([]);
  return nfa.silent.push([]) - 1;
}

/** Thompson's construction; returns the state behind `regex`. */
function build(nfa: Nfa, regex: Regex, from: number): number {
  switch (regex.kind) {
    case 'set': {
      const to = newState(nfa);
      nfa.steps[from]!.push({ set: regex.set, to });
      return to;
    }
    case 'sequence':
      return regex.items.reduce((at, item) => build(nfa, item, at), from);
    case 'alternatives': {
      const to = newState(nfa);
      for (const item of regex.items) {
        const first = newState(nfa);
        nfa.silent[from]!.push(first);
        nfa.silent[build(nfa, item, first)]!.push(to);
      }
      return to;
    }
    case 'repeat': {
      let at = from;
      for (let i = 0; i < regex.min; i++) at = build(nfa, regex.item, at);
      if (regex.max === Number.POSITIVE_INFINITY) {
        const loop = newState(nfa);
        nfa.silent[at]!.push(loop);
        nfa.silent[build(nfa, regex.item, loop)]!.push(loop);
        return loop;
      }
      const to = newState(nfa);
      for (let i = regex.min; i < regex.max; i++) {
        nfa.silent[at]!.push(to);
        at = build(nfa, regex.item, at);
      }
      nfa.silent[at]!.push(to);
      return to;
    }
    case 'start':
    case 'end': {
      const to = newState(nfa);
      (regex.kind === 'start' ? nfa.atStart : nfa.atEnd)[from]!.push(to);
      return to;
    }
  }
}

/** All states that are reached without a character, sorted. */
function close(nfa: Nfa, states: readonly number[], also: readonly (readonly number[])[] | null): readonly number[] {
  const seen = new Set(states);
  const open = [...states];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const next of also === null ? nfa.silent[state]! : [...nfa.silent[state]!, ...also[state]!]) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return [...seen].sort((a, b) => a - b);
}

function stepsOf(nfa: Nfa, subset: readonly number[]): CharEdge<readonly number[]>[] {
  const steps = subset.flatMap((state) => nfa.steps[state]!);
  const cuts = new Set<number>();
  for (const { set } of steps) for (let i = 0; i < set.length; i += 2) cuts.add(set[i]!).add(set[i + 1]! + 1);
  const bounds = [...cuts].sort((a, b) => a - b);
  const out: CharEdge<readonly number[]>[] = [];
  const closed = new Map<string, readonly number[]>();
  for (let i = 0; i + 1 < bounds.length; i++) {
    const lo = bounds[i]!;
    const targets = [...new Set(steps.filter(({ set }) => contains(set, lo)).map(({ to }) => to))];
    if (targets.length === 0) continue;
    const name = targets.join();
    const to = closed.get(name) ?? close(nfa, targets, null);
    closed.set(name, to);
    out.push({ lo, hi: bounds[i + 1]! - 1, to });
  }
  return out;
}

function contains(set: CharSet, code: number): boolean {
  let [first, end] = [0, set.length / 2];
  while (first < end) {
    const middle = (first + end) >> 1;
    if (set[2 * middle + 1]! < code) first = middle + 1;
    else end = middle;
  }
  return first < set.length / 2 && set[2 * first]! <= code;
}
