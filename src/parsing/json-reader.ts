/** JSON that comes in pieces, read far enough to know where a value ends; whether it is valid is the client's to see. */
import { type Input, peek, type Reading } from './input.js';

/** Longest key or name that is waited for. */
const stringLenMax = 1024;
/** What cannot stand in JSON outside of a string: there the value is broken off. */
const foreign = /[^\s\w{}[\]:,.+\-"']/;

/** A whole string, decoded; null where there is none, where it is longer than a name can be or where the text ends in it. */
export function* readString(input: Input): Reading<string | null> {
  if ((yield* peek(input)) !== '"') return null;
  let end = 1;
  for (;;) {
    while (end >= input.available) {
      if (input.ended) return null;
      yield;
    }
    const char = input.charAt(end);
    if (end > stringLenMax || char === '\n') return null;
    if (char === '"') break;
    end += char === '\\' ? 2 : 1;
  }
  try {
    return JSON.parse(input.take(end + 1)) as string;
  } catch {
    return null;
  }
}

/** A value of any kind, given on as it comes. false: the text, or what can be JSON, or `lenMax` ended before the value did. */
export function* readValue(input: Input, give: (text: string) => void, lenMax = Number.POSITIVE_INFINITY): Reading<boolean> {
  const first = yield* peek(input);
  if (first === '{' || first === '[' || first === '"') return yield* readNested(input, give, lenMax);
  for (let taken = 0; taken <= lenMax; ) {
    let length = 0;
    while (length < input.available && /[\w.+-]/.test(input.charAt(length))) length++;
    if (length > 0) give(input.take(length));
    if (input.available > 0) return taken + length > 0;
    if (input.ended) return false;
    taken += length;
    yield;
  }
  return false;
}

function* readNested(input: Input, give: (text: string) => void, lenMax: number): Reading<boolean> {
  let taken = 0;
  let depth = 0;
  let inString = false;
  let escaped = false;
  for (;;) {
    const { available } = input;
    for (let at = 0; at < available; at++) {
      const char = input.charAt(at);
      if (escaped) escaped = false;
      else if (inString) {
        if (char === '\\') escaped = true;
        else if (char === '"') inString = false;
      } else if (char === '"') inString = true;
      else if (char === '{' || char === '[') depth++;
      else if (char === '}' || char === ']') depth--;
      else if (foreign.test(char)) {
        if (at > 0) give(input.take(at));
        return false;
      }
      if (depth === 0 && !inString && !escaped) {
        give(input.take(at + 1));
        return true;
      }
    }
    if (available > 0) give(input.take(available));
    taken += available;
    if (input.ended || taken > lenMax) return false;
    yield;
  }
}
