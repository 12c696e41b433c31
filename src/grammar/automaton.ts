/**
 * Rules -> the automaton that the ranks run: each rule deterministic over classes of bytes, in one Int32Array. Rules that no text satisfies
 * are gone, and so is every way into one, so that whoever follows the automaton can come to an end. `native/common/grammar.h` reads it.
 */
import { LockstepError } from '../errors.js';
import { tooLarge } from './char-dfa.js';
import type { ByteEdge, RuleNfa } from './pieces.js';

/** Words of a compiled grammar: 32 MiB. */
export const automatonWordsMax = 8 << 20;
/** Leading words: magic, states, classes of bytes, rules, the first rule. */
const headerLen = 5;
const magic = 0x4c6b4701;

/** One rule's deterministic automaton. State 0 is the start. */
interface RuleDfa {
  readonly bytes: ByteEdge[][];
  readonly calls: { readonly rule: number; readonly to: number }[][];
  readonly tokens: { readonly id: number; readonly to: number }[][];
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

function close(rule: RuleNfa, states: readonly number[]): number[] {
  const seen = new Set(states);
  const open = [...states];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const next of rule.silent[state]!) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return [...seen].sort((a, b) => a - b);
}

/** Subset construction. Calls and tokens are symbols as bytes are. */
function determinize(rule: RuleNfa, statesMax: number): RuleDfa {
  const ids = new Map<string, number>();
  const subsets: number[][] = [];
  const dfa: RuleDfa = { bytes: [], calls: [], tokens: [], final: [] };
  const idOf = (states: readonly number[]): number => {
    const subset = close(rule, states);
    const name = subset.join();
    const known = ids.get(name);
    if (known !== undefined) return known;
    if (subsets.length >= statesMax) throw tooLarge('its automaton has too many states');
    ids.set(name, subsets.length);
    return subsets.push(subset) - 1;
  };
  const targets = <K>(pairs: readonly { key: K; to: number }[]): [K, number][] => {
    const byKey = new Map<K, number[]>();
    for (const { key, to } of pairs) byKey.set(key, [...(byKey.get(key) ?? []), to]);
    return [...byKey].map(([key, to]) => [key, idOf(to)]);
  };
  idOf([0]);
  for (let i = 0; i < subsets.length; i++) {
    const subset = subsets[i]!;
    dfa.final.push(subset.includes(rule.end));
    dfa.bytes.push(
      byteEdges(
        subset.flatMap((state) => rule.bytes[state]!),
        idOf,
      ),
    );
    const calls = targets(subset.flatMap((state) => rule.calls[state]!.map(({ rule: key, to }) => ({ key, to }))));
    dfa.calls.push(calls.map(([called, to]) => ({ rule: called, to })));
    const tokens = targets(subset.flatMap((state) => rule.tokens[state]!.map(({ id: key, to }) => ({ key, to }))));
    dfa.tokens.push(tokens.map(([id, to]) => ({ id, to })));
  }
  return dfa;
}

function byteEdges(edges: readonly ByteEdge[], idOf: (states: readonly number[]) => number): ByteEdge[] {
  if (edges.length === 1) return [{ ...edges[0]!, to: idOf([edges[0]!.to]) }];
  const cuts = [...new Set(edges.flatMap(({ lo, hi }) => [lo, hi + 1]))].sort((a, b) => a - b);
  const out: ByteEdge[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const lo = cuts[i]!;
    const to = edges.filter((edge) => edge.lo <= lo && lo <= edge.hi).map((edge) => edge.to);
    if (to.length > 0) out.push({ lo, hi: cuts[i + 1]! - 1, to: idOf(to) });
  }
  return out;
}

/** Which states of a rule can reach its end, calling only rules of `useful`. */
function reachesEnd(dfa: RuleDfa, useful: readonly boolean[]): boolean[] {
  const sources: number[][] = dfa.final.map(() => []);
  for (const from of dfa.final.keys()) {
    for (const { to } of dfa.bytes[from]!) sources[to]!.push(from);
    for (const { to } of dfa.tokens[from]!) sources[to]!.push(from);
    for (const { rule, to } of dfa.calls[from]!) if (useful[rule]) sources[to]!.push(from);
  }
  const alive = dfa.final.slice();
  const open = [...alive.keys()].filter((state) => alive[state]);
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const source of sources[state]!) {
      if (!alive[source]) open.push(source);
      alive[source] = true;
    }
  }
  return alive;
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
  for (const state of dfa.final.keys()) {
    dfa.bytes[state] = dfa.bytes[state]!.filter(({ to }) => alive[to]);
    dfa.tokens[state] = dfa.tokens[state]!.filter(({ to }) => alive[to]);
    dfa.calls[state] = dfa.calls[state]!.filter(({ rule, to }) => useful[rule] && alive[to]);
  }
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
  const first = dfas.map((dfa) => [...emptyStates(dfa, nullable)].flatMap((state) => dfa.calls[state]!.map(({ rule }) => rule)));
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
  for (const state of seen) for (const { rule, to } of dfa.calls[state]!) if (nullable[rule]) seen.add(to);
  return seen;
}

/** Classes of bytes that no edge tells apart. */
function byteClasses(dfas: readonly RuleDfa[]): { classOf: Int32Array; numClasses: number } {
  const cut = new Uint8Array(257);
  for (const dfa of dfas) {
    for (const edges of dfa.bytes) {
      for (const { lo, hi } of edges) {
        cut[lo] = 1;
        cut[hi + 1] = 1;
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
    numCalls += dfa.calls.reduce((sum, list) => sum + list.length, 0);
    numTokens += dfa.tokens.reduce((sum, list) => sum + list.length, 0);
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
      for (const { lo, hi, to } of dfa.bytes[state]!)
        out.fill(first + to, table + id * numClasses + classOf[lo]!, table + id * numClasses + classOf[hi]! + 1);
      out[callStart + id] = call;
      for (const { rule: called, to } of dfa.calls[state]!) out.set([called, first + to], calls + 2 * call++);
      out[tokenStart + id] = token;
      for (const { id: tokenId, to } of dfa.tokens[state]!) out.set([tokenId, first + to], tokens + 2 * token++);
    }
  }
  out[callStart + numStates] = call;
  out[tokenStart + numStates] = token;
  return out;
}
