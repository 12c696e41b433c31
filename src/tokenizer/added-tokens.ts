/** Finds added tokens (special ones, mostly) inside a text, before anything else happens to it. */
import type { AddedToken } from './definition.js';

export type Segment = string | number;

export interface AddedTokenSplitter {
  /** Text between added tokens, and the ids of those; never an empty text. */
  split(text: string): readonly Segment[];
}

/** Leftmost, then longest. `contents` are the tokens' texts as they are looked for (normalised, for tokens that are). */
export function createAddedTokenSplitter(tokens: readonly AddedToken[], contents: readonly string[]): AddedTokenSplitter {
  const byContent = new Map<string, AddedToken>();
  tokens.forEach((token, i) => {
    if (contents[i] !== '') byContent.set(contents[i]!, token);
  });
  if (byContent.size === 0) return { split: (text) => (text === '' ? [] : [text]) };
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'), 'g');
  return { split: (text) => splitAt(text, pattern, byContent) };
}

function splitAt(text: string, pattern: RegExp, byContent: ReadonlyMap<string, AddedToken>): readonly Segment[] {
  const segments: Segment[] = [];
  let done = 0;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const token = byContent.get(match[0])!;
    let start = match.index;
    let end = start + match[0].length;
    if (token.single_word && !standsAlone(text, start, end)) continue;
    if (token.lstrip) start = Math.max(done, text.slice(0, start).search(/\p{White_Space}*$/u));
    if (token.rstrip) end += /^\p{White_Space}*/u.exec(text.slice(end))![0].length;
    if (done < start) segments.push(text.slice(done, start));
    segments.push(token.id);
    done = end;
  }
  if (done < text.length) segments.push(text.slice(done));
  return segments;
}

function standsAlone(text: string, start: number, end: number): boolean {
  return (
    !/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u.test(text.slice(Math.max(0, start - 2), start)) &&
    !/^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u.test(text.slice(end, end + 2))
  );
}
