/**
 * The name between markers, the arguments behind it: as JSON, or one by one as text between markers, which becomes JSON by the types that
 * the function's schema gives.
 */
import type { CallSink } from './call-sink.js';
import { findMarker, type Input, nextOf, type Outcome, peek, type Reading, skipSpace, takeLiteral } from './input.js';
import { readValue } from './json-reader.js';
import { readQuotedArguments } from './quoted-arguments.js';
import type { NamedCall, ParameterMarkup } from './tool-format.js';

/** Longest name, with what stands between it and its end. */
const nameLenMax = 256;
/** Longest value that is held back to see whether it is what its type says; a longer one is a string. */
const typedValueLenMax = 64 * 1024;

/** The JSON types that a parameter of a function may have, or, for null, any that is not named; null where its schema does not tell. */
export type TypesOf = (name: string, parameter: string | null) => readonly string[] | null;

export interface ValueRules {
  readonly typesOf: TypesOf;
  /** Whether a grammar keeps the function's arguments: then values that are no text are JSON, and are given on as they come. */
  readonly isHeld: (name: string) => boolean;
}

/** Stands where `begin` may come. `stops`: markers that end an unfinished call. */
export function* readNamedCall(
  input: Input,
  call: NamedCall,
  { typesOf, isHeld }: ValueRules,
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
  const values = { typesOf: (parameter: string) => typesOf(name, parameter), isHeld: isHeld(name) };
  const isWhole =
    call.arguments === 'json'
      ? yield* readJsonArguments(input, sink)
      : 'quote' in call.arguments
        ? yield* readQuotedArguments(input, call.arguments.quote, sink)
        : yield* readParameters(input, call.arguments, [call.end, ...stops].filter(Boolean), values, sink);
  if (!isWhole) return 'read';
  sink.complete();
  yield* skipSpace(input);
  if (call.end !== '') yield* takeLiteral(input, call.end);
  return 'read';
}

/** The name, up to `nameEnd` or the beginning of its arguments; what stands between (ids of calls) is left out. */
function* readName(input: Input, { nameEnd, arguments: kind, end }: NamedCall): Reading<string | null> {
  const begins = kind === 'json' ? ['{'] : nameEnd === '' && 'begin' in kind ? [kind.begin, end] : [];
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

interface Values {
  readonly typesOf: (parameter: string) => readonly string[] | null;
  readonly isHeld: boolean;
}

/** false: the text ended before the last value, or behind it. */
function* readParameters(
  input: Input,
  markup: ParameterMarkup,
  ends: readonly string[],
  { typesOf, isHeld }: Values,
  sink: CallSink,
): Reading<boolean> {
  let separator = '{';
  while ((yield* nextOf(input, [markup.begin, ...ends])) === markup.begin) {
    yield* takeLiteral(input, markup.begin);
    const read = yield* readKey(input, markup);
    if (read === null) return false;
    sink.arguments(`${separator}${JSON.stringify(read.key)}: `);
    separator = ', ';
    const isJson = read.keyEnd === markup.jsonKeyEnd;
    const types = isJson ? null : markup.jsonKeyEnd === undefined ? typesOf(read.key) : textTypes;
    const isText = !isJson && isTextOf(types);
    const isWhole =
      !isText && isHeld ? yield* readHeld(input, markup.end, sink) : yield* readParameter(input, markup.end, { types, isText }, sink);
    if (!isWhole) return false;
    yield* skipSpace(input);
  }
  if (input.ended) return false;
  if (separator !== '{') sink.arguments('}');
  return true;
}

const textTypes: readonly string[] = ['string'];

/** Whether a value is text as it stands, whatever it looks like. */
export const isTextOf = (types: readonly string[] | null): boolean => types === null || types.every((type) => type === 'string');

/** A key and what ends it, which is taken too; null: there is none. */
function* readKey(input: Input, { keyEnd, jsonKeyEnd }: ParameterMarkup): Reading<{ key: string; keyEnd: string } | null> {
  const ends = jsonKeyEnd === undefined ? [keyEnd] : [keyEnd, jsonKeyEnd];
  const heads = ends.map((end) => end.split(/\s/, 1)[0]!);
  for (;;) {
    const { before, marker } = findMarker(input.rest, heads);
    if (marker !== null && before <= nameLenMax) {
      const key = input.take(before).trim();
      const end = yield* nextOf(input, ends);
      if (end !== null) yield* takeLiteral(input, end);
      return end === null ? null : { key, keyEnd: end };
    }
    if (before > nameLenMax || input.ended) return null;
    yield;
  }
}

/** A value that is JSON for sure. */
function* readHeld(input: Input, end: string, sink: CallSink): Reading<boolean> {
  yield* skipSpace(input);
  if (!(yield* readValue(input, (text) => sink.arguments(text)))) return false;
  yield* skipSpace(input);
  return yield* takeLiteral(input, end);
}

/** `types` null: any that JSON has. */
interface ValueKind {
  readonly types: readonly string[] | null;
  readonly isText: boolean;
}

/** A value as JSON. One line break on either side belongs to the markup. false: the text ended in it. */
function* readParameter(input: Input, end: string, { types, isText }: ValueKind, sink: CallSink): Reading<boolean> {
  if ((yield* peek(input)) === '\n') input.take(1);
  const ends = [`\n${end}`, end];
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
function asJson(text: string, types: readonly string[] | null): string {
  const candidate = python[text.trim()] ?? text.trim();
  try {
    const value: unknown = JSON.parse(candidate);
    if (types === null || types.includes(typeOf(value)) || (types.includes('integer') && Number.isInteger(value))) return candidate;
  } catch {
    // No JSON: a string.
  }
  return JSON.stringify(text);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
