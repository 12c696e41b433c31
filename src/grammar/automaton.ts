/**
 * Rules -> the automaton that the ranks run: each rule deterministic over classes of bytes, in one Int32Array. Rules that no text satisfies
 * are gone, and so is every way into one, so that whoever follows the automaton can come to an end. `native/common/grammar.h` reads it.
 */
import { LockstepError } from '../errors.js';
import { tooLarge } from './char-dfa.js';
import { addTo, type ByState, type RuleNfa } from './pieces.js';

/** Words of a compiled grammar: 32 MiB. */
export const automatonWordsMax = 8 << 20;
/** Leading words: magic, states, classes of bytes, rules, the first rule. */
const headerLen = 5;
const magic = 0x4c6b4701;

/** One rule's deterministic automaton. State 0 is the start. */
interface RuleDfa {
  /** [states] lo, hi, target, lo, hi, target, … */
  readonly bytes: (readonly number[])[];
  readonly calls: ByState<{ readonly rule: number; readonly to: number }>;
  readonly tokens: ByState<{ readonly id: number; readonly to: number }>;
  readonly final: boolean[];
}

/** Throws `invalid_value` for a grammar without any text, for one that begins with itself, and for one that is too large. */
export function compileRules(rules: readonly RuleNfa[], root: number): Int32Array {
  let budget = automatonWordsMax;
  const dfas = rules.map((rule) => {
    const dfa = determinize(rule, budget);
    budget -= dfa.bytes.length;
    return dfa;
  });
  const useful = productiveRules(dfas);
  if (!useful[root]) throw new LockstepError('invalid_value', 'The grammar allows no text at all: nothing can satisfy it.');
  for (const dfa of dfas) trim(dfa, useful);
  refuseLeftRecursion(dfas, root);
  return layOut(dfas, root);
}

/** `states`, and what is silently reached from them, in order. */
function close({ silent }: RuleNfa, states: readonly number[]): readonly number[] {
  const seen = new Set(states);
  const open = [...states];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const next of silent.get(state) ?? []) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return [...seen].sort((a, b) => a - b);
}

/** Finds the state that stands for states of a rule, or one of them alone. */
interface Subsets {
  idOf(states: readonly number[]): number;
  idOfOne(state: number): number;
}

/** Subset construction. Calls and tokens are symbols as bytes are. Most subsets are one state alone, and known without a name. */
function determinize(rule: RuleNfa, statesMax: number): RuleDfa {
  const alone = new Int32Array(rule.bytes.length).fill(-1);
  const ids = new Map<string, number>();
  const subsets: (number | readonly number[])[] = [];
  const dfa: RuleDfa = { bytes: [], calls: new Map(), tokens: new Map(), final: [] };
  const added = (subset: number | readonly number[]): number => {
    if (subsets.length >= statesMax) throw tooLarge('its automaton has too many states');
    return subsets.push(subset) - 1;
  };
  const single = (state: number): number => {
    if (alone[state] === -1) alone[state] = added(state);
    return alone[state]!;
  };
  const to: Subsets = {
    idOf(states) {
      const subset = close(rule, states);
      if (subset.length === 1) return single(subset[0]!);
      const name = subset.join();
      let id = ids.get(name);
      if (id === undefined) ids.set(name, (id = added(subset)));
      return id;
    },
    idOfOne: (state) => (rule.silent.has(state) ? to.idOf([state]) : single(state)),
  };
  to.idOfOne(0);
  for (let i = 0; i < subsets.length; i++) {
    const subset = subsets[i]!;
    const states = typeof subset === 'number' ? [subset] : subset;
    dfa.final.push(states.includes(rule.end));
    dfa.bytes.push(byteEdges(typeof subset === 'number' ? rule.bytes[subset]! : subset.flatMap((state) => rule.bytes[state]!), to));
    for (const [called, next] of targets(rule.calls, states, (call) => call.rule)) addTo(dfa.calls, i, { rule: called, to: to.idOf(next) });
    for (const [id, next] of targets(rule.tokens, states, (token) => token.id)) addTo(dfa.tokens, i, { id, to: to.idOf(next) });
  }
  return dfa;
}

function targets<T extends { readonly to: number }>(
  from: ByState<T>,
  states: readonly number[],
  keyOf: (item: T) => number,
): ByState<number> {
  const byKey: ByState<number> = new Map();
  if (from.size > 0) for (const state of states) for (const item of from.get(state) ?? []) addTo(byKey, keyOf(item), item.to);
  return byKey;
}

/** Edges that do not overlap, in order, from edges that may. */
function byteEdges(edges: readonly number[], to: Subsets): number[] {
  if (edges.length === 3) return [edges[0]!, edges[1]!, to.idOfOne(edges[2]!)];
  const order: number[] = [];
  for (let i = 0; i < edges.length; i += 3) order.push(i);
  order.sort((a, b) => edges[a]! - edges[b]!);
  const out: number[] = [];
  for (let i = 0; i < order.length; ) {
    const at = order[i]!;
    let end = i + 1;
    for (let last = edges[at + 1]!; end < order.length && edges[order[end]!]! <= last; end++)
      last = Math.max(last, edges[order[end]! + 1]!);
    if (end === i + 1) out.push(edges[at]!, edges[at + 1]!, to.idOfOne(edges[at + 2]!));
    else apart(edges, order.slice(i, end), to, out);
    i = end;
  }
  return out;
}

/** Edges that overlap (those at `places`), cut into ranges that each of them holds whole or not at all. */
function apart(edges: readonly number[], places: readonly number[], to: Subsets, out: number[]): void {
  const cuts = [...new Set(places.flatMap((at) => [edges[at]!, edges[at + 1]! + 1]))].sort((a, b) => a - b);
  for (let i = 0; i + 1 < cuts.length; i++) {
    const lo = cuts[i]!;
    const next = places.filter((at) => edges[at]! <= lo && lo <= edges[at + 1]!).map((at) => edges[at + 2]!);
    if (next.length > 0) out.push(lo, cuts[i + 1]! - 1, to.idOf(next));
  }
}

/** Which states of a rule can reach its end, calling only rules of `useful`. */
function reachesEnd(dfa: RuleDfa, useful: readonly boolean[]): boolean[] {
  const { start, sources } = edgesBack(dfa, useful);
  const alive = dfa.final.slice();
  const open = [...alive.keys()].filter((state) => alive[state]);
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (let i = start[state]!; i < start[state + 1]!; i++) {
      const source = sources[i]!;
      if (!alive[source]) open.push(source);
      alive[source] = true;
    }
  }
  return alive;
}

/** Where edges to each state come from: `sources` from `start` of it to that of the next. */
function edgesBack(dfa: RuleDfa, useful: readonly boolean[]): { start: Int32Array; sources: Int32Array } {
  const each = (visit: (from: number, to: number) => void) => {
    for (const [from, edges] of dfa.bytes.entries()) for (let i = 2; i < edges.length; i += 3) visit(from, edges[i]!);
    for (const [from, tokens] of dfa.tokens) for (const { to } of tokens) visit(from, to);
    for (const [from, calls] of dfa.calls) for (const { rule, to } of calls) if (useful[rule]) visit(from, to);
  };
  const start = new Int32Array(dfa.final.length + 2);
  each((_, to) => {
    start[to + 2]!++;
  });
  for (let state = 2; state < start.length; state++) start[state]! += start[state - 1]!;
  const sources = new Int32Array(start.at(-1)!);
  each((from, to) => {
    sources[start[to + 1]!++] = from;
  });
  return { start, sources };
}

/** Rules that some text satisfies: found in rounds, since they call each other. */
function productiveRules(dfas: readonly RuleDfa[]): boolean[] {
  const useful = dfas.map(() => false);
  for (let changed = true; changed; ) {
    changed = false;
    for (const [rule, dfa] of dfas.entries()) {
      if (useful[rule] || !reachesEnd(dfa, useful)[0]) continue;
      useful[rule] = true;
      changed = true;
    }
  }
  return useful;
}

function trim(dfa: RuleDfa, useful: readonly boolean[]): void {
  const alive = reachesEnd(dfa, useful);
  const hasDead = alive.includes(false);
  for (const [state, edges] of dfa.bytes.entries()) {
    if (hasDead) dfa.bytes[state] = edges.filter((_, i) => alive[edges[i - (i % 3) + 2]!]);
  }
  for (const [state, tokens] of dfa.tokens)
    dfa.tokens.set(
      state,
      tokens.filter(({ to }) => alive[to]),
    );
  for (const [state, calls] of dfa.calls)
    dfa.calls.set(
      state,
      calls.filter(({ rule, to }) => useful[rule] && alive[to]),
    );
}

/** A rule that can come to itself before any byte would be entered for ever. */
function refuseLeftRecursion(dfas: readonly RuleDfa[], root: number): void {
  const nullable = dfas.map((dfa) => dfa.final[0]!);
  for (let changed = true; changed; ) {
    changed = false;
    for (const [rule, dfa] of dfas.entries()) {
      if (nullable[rule] || ![...emptyStates(dfa, nullable)].some((state) => dfa.final[state])) continue;
      nullable[rule] = true;
      changed = true;
    }
  }
  const first = dfas.map((dfa) => [...emptyStates(dfa, nullable)].flatMap((state) => (dfa.calls.get(state) ?? []).map(({ rule }) => rule)));
  const state = new Uint8Array(dfas.length); // 1: being looked at, 2: done
  const stack = [root, ...dfas.keys()].reverse();
  while (stack.length > 0) {
    const rule = stack.pop()!;
    if (rule < 0) {
      state[~rule] = 2;
      continue;
    }
    if (state[rule] !== 0) continue;
    state[rule] = 1;
    stack.push(~rule);
    for (const next of first[rule]!) {
      if (state[next] === 1)
        throw new LockstepError('invalid_value', 'A rule of the grammar begins with itself (left recursion). Write it as a repetition.');
      if (state[next] === 0) stack.push(next);
    }
  }
}

/** States that are reached from the start without a byte. */
function emptyStates(dfa: RuleDfa, nullable: readonly boolean[]): Set<number> {
  const seen = new Set([0]);
  for (const state of seen) for (const { rule, to } of dfa.calls.get(state) ?? []) if (nullable[rule]) seen.add(to);
  return seen;
}

/** Classes of bytes that no edge tells apart. */
function byteClasses(dfas: readonly RuleDfa[]): { classOf: Int32Array; numClasses: number } {
  const cut = new Uint8Array(257);
  for (const dfa of dfas) {
    for (const edges of dfa.bytes) {
      for (let i = 0; i < edges.length; i += 3) {
        cut[edges[i]!] = 1;
        cut[edges[i + 1]! + 1] = 1;
      }
    }
  }
  const classOf = new Int32Array(256);
  let last = 0;
  for (let byte = 1; byte < 256; byte++) {
    if (cut[byte]) last++;
    classOf[byte] = last;
  }
  return { classOf, numClasses: last + 1 };
}

/** header, class of each byte, start of each rule; then for each state: target of each class, final; then calls and tokens with their starts. */
function layOut(dfas: readonly RuleDfa[], root: number): Int32Array {
  const { classOf, numClasses } = byteClasses(dfas);
  const firsts: number[] = [];
  let numStates = 0;
  let [numCalls, numTokens] = [0, 0];
  for (const dfa of dfas) {
    firsts.push(numStates);
    numStates += dfa.final.length;
    for (const calls of dfa.calls.values()) numCalls += calls.length;
    for (const tokens of dfa.tokens.values()) numTokens += tokens.length;
  }
  const words = headerLen + 256 + dfas.length + numStates * (numClasses + 1) + 2 * (numStates + 1) + 2 * (numCalls + numTokens);
  if (words > automatonWordsMax)
    throw tooLarge(`its automaton takes ${Math.ceil(words / 2 ** 18)} MiB, and at most ${automatonWordsMax / 2 ** 18} are allowed`);
  const out = new Int32Array(new SharedArrayBuffer(4 * words));
  out.set([magic, numStates, numClasses, dfas.length, root]);
  out.set(classOf, headerLen);
  out.set(firsts, headerLen + 256);
  const table = headerLen + 256 + dfas.length;
  const final = table + numStates * numClasses;
  const callStart = final + numStates;
  const tokenStart = callStart + numStates + 1;
  const calls = tokenStart + numStates + 1;
  const tokens = calls + 2 * numCalls;
  out.fill(-1, table, final);
  let [call, token] = [0, 0];
  for (const [rule, dfa] of dfas.entries()) {
    const first = firsts[rule]!;
    for (const [state, isFinal] of dfa.final.entries()) {
      const id = first + state;
      out[final + id] = isFinal ? 1 : 0;
      const edges = dfa.bytes[state]!;
      const row = table + id * numClasses;
      for (let i = 0; i < edges.length; i += 3)
        out.fill(first + edges[i + 2]!, row + classOf[edges[i]!]!, row + classOf[edges[i + 1]!]! + 1);
      out[callStart + id] = call;
      for (const { rule: called, to } of dfa.calls.get(state) ?? []) out.set([called, first + to], calls + 2 * call++);
      out[tokenStart + id] = token;
      for (const { id: tokenId, to } of dfa.tokens.get(state) ?? []) out.set([tokenId, first + to], tokens + 2 * token++);
    }
  }
  out[callStart + numStates] = call;
  out[tokenStart + numStates] = token;
  return out;
}
