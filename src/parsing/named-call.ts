/**
 * The name between markers, the arguments behind it: as JSON, or one by one as text between markers, which becomes JSON by the types that
 * the function's schema gives.
 */
import type { CallSink } from './call-sink.js';
import { findMarker, type Input, nextOf, type Outcome, peek, type Reading, skipSpace, takeLiteral } from './input.js';
import { readValue } from './json-reader.js';
import type { NamedCall, ParameterMarkup } from './tool-format.js';

/** Longest name, with what stands between it and its end. */
const nameLenMax = 256;
/** Longest value that is held back to see whether it is what its type says; a longer one is a string. */
const typedValueLenMax = 64 * 1024;

/** The JSON types that a parameter of a function may have; null where its schema does not tell. */
export type TypesOf = (name: string, parameter: string) => readonly string[] | null;

/** Stands where `begin` may come. `stops`: markers that end an unfinished call. */
export function* readNamedCall(
  input: Input,
  call: NamedCall,
  typesOf: TypesOf,
  stops: readonly string[],
  sink: CallSink,
): Reading<Outcome> {
  if (!(yield* takeLiteral(input, call.begin))) return input.ended ? 'unfinished' : 'not a call';
  yield* skipSpace(input);
  const name = yield* readName(input, call);
  if (name === null) return input.ended ? 'unfinished' : 'not a call';
  input.forget();
  sink.begin(name);
  yield* skipSpace(input);
  const isWhole =
    call.arguments === 'json'
      ? yield* readJsonArguments(input, sink)
      : yield* readParameters(input, call.arguments, [call.end, ...stops].filter(Boolean), (parameter) => typesOf(name, parameter), sink);
  if (!isWhole) return 'read';
  sink.complete();
  yield* skipSpace(input);
  if (call.end !== '') yield* takeLiteral(input, call.end);
  return 'read';
}

/** The name, up to `nameEnd` or the beginning of its arguments; what stands between (ids of calls) is left out. */
function* readName(input: Input, { nameEnd, arguments: kind, end }: NamedCall): Reading<string | null> {
  const begins = kind === 'json' ? ['{'] : nameEnd === '' ? [kind.begin, end] : [];
  const ends = [nameEnd, ...begins].filter((text) => text !== '');
  for (;;) {
    const { before, marker } = findMarker(input.rest, ends);
    if (marker !== null && before <= nameLenMax) {
      const [name] = /^[^\s"'`<>{}()[\]:]+/.exec(input.rest.slice(0, before)) ?? [null];
      if (name === null) return null;
      input.take(before + (marker === nameEnd ? marker.length : 0));
      return name;
    }
    if (before > nameLenMax || input.ended) return null;
    yield;
  }
}

/** false: broken off. No object at all is a call without arguments. */
function* readJsonArguments(input: Input, sink: CallSink): Reading<boolean> {
  const char = yield* peek(input);
  if (char !== '{') return char !== '';
  return yield* readValue(input, (text) => sink.arguments(text));
}

/** false: the text ended before the last value, or behind it. */
function* readParameters(
  input: Input,
  markup: ParameterMarkup,
  ends: readonly string[],
  typesOf: (parameter: string) => readonly string[] | null,
  sink: CallSink,
): Reading<boolean> {
  let separator = '{';
  while ((yield* nextOf(input, [markup.begin, ...ends])) === markup.begin) {
    yield* takeLiteral(input, markup.begin);
    const key = yield* readText(input, markup.keyEnd);
    if (key === null) return false;
    sink.arguments(`${separator}${JSON.stringify(key.trim())}: `);
    separator = ', ';
    if (!(yield* readParameter(input, markup.end, typesOf(key.trim()), sink))) return false;
    yield* skipSpace(input);
  }
  if (input.ended) return false;
  if (separator !== '{') sink.arguments('}');
  return true;
}

/** Short text up to `end`, which is taken too. */
function* readText(input: Input, end: string): Reading<string | null> {
  const [head = ''] = end.split(/\s/, 1);
  for (;;) {
    const { before, marker } = findMarker(input.rest, [head]);
    if (marker !== null && before <= nameLenMax) {
      const text = input.take(before);
      return (yield* takeLiteral(input, end)) ? text : null;
    }
    if (before > nameLenMax || input.ended) return null;
    yield;
  }
}

/** A value as JSON. One line break on either side belongs to the markup. false: the text ended in it. */
function* readParameter(input: Input, end: string, types: readonly string[] | null, sink: CallSink): Reading<boolean> {
  if ((yield* peek(input)) === '\n') input.take(1);
  const ends = [`\n${end}`, end];
  const isText = types === null || types.every((type) => type === 'string');
  let held = '';
  let begun = false; // the string's opening quote is out
  const giveText = (text: string) => {
    if (!begun) sink.arguments('"');
    begun = true;
    if (text !== '') sink.arguments(JSON.stringify(text).slice(1, -1));
  };
  for (;;) {
    const { before, marker } = findMarker(input.rest, ends);
    const text = input.take(wholeCharacters(input.rest, before, marker !== null));
    if (isText || begun) giveText(text);
    else held += text;
    if (held.length > typedValueLenMax) {
      giveText(held);
      held = '';
    }
    if (marker !== null) {
      input.take(marker.length);
      if (begun || isText) {
        giveText('');
        sink.arguments('"');
      } else sink.arguments(asJson(held, types));
      return true;
    }
    if (input.ended) {
      if (held !== '') sink.arguments(held);
      return false;
    }
    yield;
  }
}

/** Both halves of a character outside the basic plane are escaped together, or neither would be what it is. */
function wholeCharacters(text: string, length: number, isAll: boolean): number {
  const last = text.charCodeAt(length - 1);
  return !isAll && length > 0 && last >= 0xd800 && last < 0xdc00 ? length - 1 : length;
}

const python: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

/** A value that is no plain string: JSON where it is of one of the types, else a string all the same. */
function asJson(text: string, types: readonly string[]): string {
  const candidate = python[text.trim()] ?? text.trim();
  try {
    if (types.includes(typeOf(JSON.parse(candidate)))) return candidate;
    if (types.includes('integer') && Number.isInteger(JSON.parse(candidate))) return candidate;
  } catch {
    // No JSON: a string.
  }
  return JSON.stringify(text);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
