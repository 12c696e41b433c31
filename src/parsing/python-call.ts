/** `f(city='Oslo', days=[1, 2])` as a model trained on Python writes calls -> a name and JSON, piece by piece. */
import type { CallSink } from './call-sink.js';
import { type Input, type Outcome, peek, type Reading, skipSpace } from './input.js';
import { type LiteralForm, nestingMax, readLiteral, readWord } from './literal.js';

/** Stands where the name may begin. `isKnown`: null where any name will do. */
export function* readPythonCall(input: Input, isKnown: ((name: string) => boolean) | null, sink: CallSink): Reading<Outcome> {
  const name = yield* readWord(input, /[\w.]/);
  if (name === '' || /^\d/.test(name) || (yield* peek(input)) !== '(' || (isKnown !== null && !isKnown(name))) {
    return input.ended ? 'unfinished' : 'not a call';
  }
  input.take(1);
  input.forget();
  sink.begin(name);
  let separator = '{';
  for (;;) {
    yield* skipSpace(input);
    const char = yield* peek(input);
    if (char === ')') {
      input.take(1);
      if (separator !== '{') sink.arguments('}');
      sink.complete();
      return 'read';
    }
    if (char === ',') {
      input.take(1);
      continue;
    }
    const key = yield* readWord(input, /\w/);
    yield* skipSpace(input);
    if (key === '' || (yield* peek(input)) !== '=') return 'read';
    input.take(1);
    sink.arguments(`${separator}${JSON.stringify(key)}: `);
    separator = ', ';
    if (!(yield* readLiteral(input, python, nestingMax, sink))) return 'read';
  }
}

const python: LiteralForm = {
  wordKind: /[\w.+-]/,
  keyKind: /[\w.+-]/,
  lists: { '[': ']', '(': ')' },
  *atText(input) {
    const char = yield* peek(input);
    return char === '"' || char === "'";
  },
  readText: readPythonString,
};

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07', 0: '\0', '\n': '' };
const hexLens: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

function* readPythonString(input: Input, sink: CallSink): Reading<boolean> {
  const quote = input.take(1);
  sink.arguments('"');
  for (;;) {
    const plain = plainLen(input, quote);
    if (plain > 0) sink.arguments(JSON.stringify(input.take(plain)).slice(1, -1));
    const char = yield* peek(input);
    if (char === '') return false;
    if (char === quote) {
      input.take(1);
      sink.arguments('"');
      return true;
    }
    if (char === '\\') {
      const text = yield* readEscape(input);
      if (text === null) return false;
      sink.arguments(JSON.stringify(text).slice(1, -1));
    } else if (plain === 0) {
      // The first half of a character whose second is still to come.
      if (input.ended) return false;
      yield;
    }
  }
}

/** How many characters follow that are themselves. A half of a character waits for the other. */
function plainLen(input: Input, quote: string): number {
  let length = 0;
  while (length < input.available && input.charAt(length) !== quote && input.charAt(length) !== '\\') length++;
  const last = input.charAt(length - 1).charCodeAt(0);
  return length === input.available && last >= 0xd800 && last < 0xdc00 ? length - 1 : length;
}

function* readEscape(input: Input): Reading<string | null> {
  input.take(1);
  const letter = yield* peek(input);
  if (letter === '') return null;
  input.take(1);
  const hexLen = hexLens[letter];
  if (hexLen === undefined) return escapes[letter] ?? (/[\\'"]/.test(letter) ? letter : `\\${letter}`);
  let hex = '';
  while (hex.length < hexLen && /[0-9a-fA-F]/.test(yield* peek(input))) hex += input.take(1);
  const code = Number.parseInt(hex, 16);
  return hex.length === hexLen && code <= 0x10ffff ? String.fromCodePoint(code) : `\\${letter}${hex}`;
}
