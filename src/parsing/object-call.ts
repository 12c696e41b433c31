/** `{"name": "f", "arguments": {…}}`: the keys in either order, others skipped. */
import type { CallSink } from './call-sink.js';
import { type Input, type Outcome, peek, type Reading, skipSpace } from './input.js';
import { readString, readValue } from './json-reader.js';
import type { ObjectCall } from './tool-format.js';

/** Most characters of a call before its name is known: arguments that come first are held back for it. */
export const callHeadLenMax = 16 * 1024;

/** Keys that a call may have besides. Without a marker another one shows that this is none. */
const otherKeys = new Set(['id', 'type', 'tool_call_id']);

/** Stands at the `{`. `isKnown`: null where any name will do. */
export function* readObjectCall(
  input: Input,
  { nameKey, argumentKeys }: ObjectCall,
  isKnown: ((name: string) => boolean) | null,
  sink: CallSink,
): Reading<Outcome> {
  input.take(1);
  let named = false;
  let early: string | null = null; // arguments that came before the name
  for (;;) {
    yield* skipSpace(input);
    const char = yield* peek(input);
    if (char === '}') {
      input.take(1);
      if (named) sink.complete();
      return named ? 'read' : 'not a call';
    }
    if (char === ',') {
      input.take(1);
      continue;
    }
    const key = yield* readKey(input);
    if (key === null) break;
    if (key === nameKey && !named) {
      const name = yield* readString(input);
      if (name === null || name === '' || (isKnown !== null && !isKnown(name))) break;
      named = true;
      input.forget();
      sink.begin(name);
      if (early !== null) sink.arguments(early);
    } else if (argumentKeys.includes(key) && early === null) {
      early = '';
      const give = (text: string) => {
        if (named) sink.arguments(text);
        else early += text;
      };
      if (!(yield* readValue(input, give, named ? undefined : callHeadLenMax))) break;
    } else {
      if (isKnown !== null && !otherKeys.has(key)) break;
      if (!(yield* readValue(input, () => {}, named ? undefined : callHeadLenMax))) break;
    }
    if (!named && input.markedLen > callHeadLenMax) break;
  }
  return named ? 'read' : input.ended ? 'unfinished' : 'not a call';
}

/** A key and its colon; null: something else. */
function* readKey(input: Input): Reading<string | null> {
  const key = yield* readString(input);
  if (key === null) return null;
  yield* skipSpace(input);
  if ((yield* peek(input)) !== ':') return null;
  input.take(1);
  yield* skipSpace(input);
  return key;
}
