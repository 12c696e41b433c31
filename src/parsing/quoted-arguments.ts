/** `city:<q>Oslo<q>,days:[1,2]` -> JSON, piece by piece: keys are bare, and strings stand as they are between two of the model's own quotes. */
import type { CallSink } from './call-sink.js';
import { findMarker, type Input, nextOf, peek, type Reading, skipSpace } from './input.js';
import { asJson, readWord } from './python-call.js';

/** Deepest list or object; what is deeper ends the call. */
const nestingMax = 64;

/** Stands behind the `{`; takes the `}`. false: broken off. */
export function* readQuotedArguments(input: Input, quote: string, sink: CallSink): Reading<boolean> {
  yield* skipSpace(input);
  if ((yield* peek(input)) !== '}') return yield* readMembers(input, quote, nestingMax, sink);
  input.take(1);
  return true;
}

/** Behind a `{`, up to and with its `}`. */
function* readMembers(input: Input, quote: string, depth: number, sink: CallSink): Reading<boolean> {
  sink.arguments('{');
  for (let isFirst = true; ; isFirst = false) {
    yield* skipSpace(input);
    if ((yield* peek(input)) === '}') {
      input.take(1);
      sink.arguments('}');
      return true;
    }
    if (!isFirst) sink.arguments(', ');
    if ((yield* nextOf(input, [quote])) !== null) {
      if (!(yield* readText(input, quote, sink))) return false;
    } else {
      const key = yield* readWord(input, /[^\s:,{}[\]]/);
      if (key === '') return false;
      sink.arguments(JSON.stringify(key));
    }
    yield* skipSpace(input);
    if ((yield* peek(input)) !== ':') return false;
    input.take(1);
    sink.arguments(': ');
    if (!(yield* readValue(input, quote, depth - 1, sink))) return false;
    yield* skipComma(input);
  }
}

function* readItems(input: Input, quote: string, depth: number, sink: CallSink): Reading<boolean> {
  sink.arguments('[');
  for (let isFirst = true; ; isFirst = false) {
    yield* skipSpace(input);
    if ((yield* peek(input)) === ']') {
      input.take(1);
      sink.arguments(']');
      return true;
    }
    if (!isFirst) sink.arguments(', ');
    if (!(yield* readValue(input, quote, depth - 1, sink))) return false;
    yield* skipComma(input);
  }
}

function* readValue(input: Input, quote: string, depth: number, sink: CallSink): Reading<boolean> {
  yield* skipSpace(input);
  if ((yield* nextOf(input, [quote])) !== null) return yield* readText(input, quote, sink);
  const char = yield* peek(input);
  if (char === '{' || char === '[') {
    if (depth === 0) return false;
    input.take(1);
    return yield* char === '{' ? readMembers(input, quote, depth, sink) : readItems(input, quote, depth, sink);
  }
  const word = yield* readWord(input, /[^\s,{}[\]]/);
  if (word !== '') sink.arguments(asJson(word));
  return word !== '';
}

/** Stands at the first quote. */
function* readText(input: Input, quote: string, sink: CallSink): Reading<boolean> {
  input.take(quote.length);
  sink.arguments('"');
  for (;;) {
    const { before, marker } = findMarker(input.rest, [quote]);
    const last = input.rest.charCodeAt(before - 1);
    // Both halves of a character are escaped together.
    const length = marker === null && last >= 0xd800 && last < 0xdc00 ? before - 1 : before;
    if (length > 0) sink.arguments(JSON.stringify(input.take(length)).slice(1, -1));
    if (marker !== null) {
      input.take(quote.length);
      sink.arguments('"');
      return true;
    }
    if (input.ended) return false;
    yield;
  }
}

function* skipComma(input: Input): Reading<void> {
  yield* skipSpace(input);
  if ((yield* peek(input)) === ',') input.take(1);
}
