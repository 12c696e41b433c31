/** Free text, and tags in it: text that is watched for markers, and what must follow them. */
import { type CharEdge, exploreStates, splitBy } from './char-dfa.js';
import { addTo, type Piece, type RuleNfa, type Rules } from './pieces.js';
import type { FreeText, SeparatedTags, TagSpec, TriggeredTags } from './spec.js';

/** A text so far: its longest end that may begin a marker, or the marker that it has just ended with. */
interface Watched {
  readonly end: string;
  readonly hit: number;
}

/** Text up to the first of `markers`, without any of `excludes`. `open`: it may end anywhere before. */
function watch(markers: readonly string[], excludes: readonly string[], open: boolean) {
  const all = [...markers, ...excludes];
  const chars = new Map(Array.from(all.join(''), (char) => [char.codePointAt(0)!, true] as const));
  const prefixes = new Set(all.flatMap((text) => Array.from({ length: text.length + 1 }, (_, i) => text.slice(0, i))));
  const next = (end: string, char: string): Watched | null => {
    let text = end + char;
    if (excludes.some((each) => text.endsWith(each))) return null;
    const hit = markers.findIndex((each) => text.endsWith(each));
    if (hit >= 0) return { end: '', hit };
    while (!prefixes.has(text)) text = text.slice(1);
    return { end: text, hit: -1 };
  };
  return exploreStates<Watched>(
    { end: '', hit: -1 },
    ({ end, hit }) => `${hit} ${end}`,
    ({ end, hit }) => {
      if (hit >= 0) return [];
      const edges = splitBy(chars, (code) => (code === null ? { end: '', hit: -1 } : next(end, String.fromCodePoint(code))));
      return edges.filter((edge): edge is CharEdge<Watched> => edge.to !== null);
    },
    ({ hit }) => open || hit >= 0,
  );
}

/** Lays watched text out in `rule`; returns its first state, those in which the text goes on, and one state for each marker. */
function layOutText(rules: Rules, rule: RuleNfa, markers: readonly string[], excludes: readonly string[], open: boolean) {
  const { dfa, states } = watch(markers, excludes, open);
  const laid = rules.charStates(rule, dfa, 'utf8');
  const hits = markers.map(() => rules.state(rule));
  for (const [i, { hit }] of states.entries()) if (hit >= 0) addTo(rule.silent, laid[i]!, hits[hit]!);
  return { start: laid[0]!, going: laid.filter((_, i) => states[i]!.hit < 0), hits };
}

export function freeText(rules: Rules, { until, excludes }: FreeText): Piece {
  return (rule, from) => {
    const to = rules.state(rule);
    const ends = until === undefined || until === '' ? [] : [until];
    const { start, going, hits } = layOutText(rules, rule, ends, excludes?.filter((each) => each !== '') ?? [], ends.length === 0);
    addTo(rule.silent, from, start);
    const token = ends.length === 0 ? undefined : rules.specialTokens.get(ends[0]!);
    for (const state of going) {
      if (ends.length === 0) addTo(rule.silent, state, to);
      else if (token !== undefined) addTo(rule.tokens, state, { id: token, to });
    }
    for (const hit of hits) addTo(rule.silent, hit, to);
    return to;
  };
}

/** `content` of each tag is made once, however often the tag may come. */
export interface MadeTag {
  readonly begin: string;
  readonly content: Piece;
  readonly end: string;
}
export type MakeTag = (tag: TagSpec) => MadeTag;

const behindBegin = (rules: Rules, tag: MadeTag, written: number): Piece =>
  rules.sequence(rules.marker(tag.begin.slice(written)), tag.content, rules.marker(tag.end));

export function triggeredTags(
  rules: Rules,
  { triggers, atLeastOne, stopAfterFirst, excludes }: TriggeredTags,
  tags: readonly MadeTag[],
): Piece {
  return (rule, from) => {
    const to = rules.state(rule);
    const { start, going, hits } = layOutText(rules, rule, triggers, excludes?.filter((each) => each !== '') ?? [], true);
    for (const state of going) addTo(rule.silent, state, to);
    const after = stopAfterFirst ? to : start;
    for (const tag of tags) {
      for (const [i, trigger] of triggers.entries()) {
        if (tag.begin.startsWith(trigger)) addTo(rule.silent, behindBegin(rules, tag, trigger.length)(rule, hits[i]!), after);
      }
      for (const [text, id] of rules.specialTokens) {
        if (!tag.begin.startsWith(text) || !triggers.some((trigger) => text.startsWith(trigger))) continue;
        const begun = rules.state(rule);
        for (const state of going) addTo(rule.tokens, state, { id, to: begun });
        addTo(rule.silent, behindBegin(rules, tag, text.length)(rule, begun), after);
      }
    }
    if (!atLeastOne) addTo(rule.silent, from, start);
    else for (const tag of tags) addTo(rule.silent, behindBegin(rules, tag, 0)(rule, from), after);
    return to;
  };
}

export function separatedTags(rules: Rules, { separator, atLeastOne, stopAfterFirst }: SeparatedTags, tags: readonly MadeTag[]): Piece {
  const one = rules.define(rules.either(...tags.map((tag) => behindBegin(rules, tag, 0))));
  const more = rules.sequence(rules.marker(separator), one);
  const some = stopAfterFirst ? one : rules.sequence(one, rules.repeat(more, 0, Number.POSITIVE_INFINITY));
  return atLeastOne ? some : rules.optional(some);
}
