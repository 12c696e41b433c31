/** `city:<q>Oslo<q>,days:[1,2]` -> JSON, piece by piece: keys are bare, and strings stand as they are between two of the model's own quotes. */
import type { CallSink } from './call-sink.js';
import { findMarker, type Input, nextOf, peek, type Reading, skipSpace } from './input.js';
import { type LiteralForm, nestingMax, readMembers } from './literal.js';

/** Stands behind the `{`; takes the `}`. false: broken off. */
export function* readQuotedArguments(input: Input, quote: string, sink: CallSink): Reading<boolean> {
  yield* skipSpace(input);
  if ((yield* peek(input)) !== '}') return yield* readMembers(input, formOf(quote), nestingMax, sink);
  input.take(1);
  return true;
}

const formOf = (quote: string): LiteralForm => ({
  wordKind: /[^\s,{}[\]]/,
  keyKind: /[^\s:,{}[\]]/,
  lists: { '[': ']' },
  *atText(input) {
    return (yield* nextOf(input, [quote])) !== null;
  },
  readText: (input, sink) => readText(input, quote, sink),
});

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
