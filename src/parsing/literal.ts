/** Literals of values as JSON, piece by piece: lists, objects and bare words are written alike by all; how texts are quoted is the form's. */
import type { CallSink } from './call-sink.js';
import { type Input, peek, type Reading, skipSpace } from './input.js';

const wordLenMax = 256;
/** Deepest list or object; what is deeper ends the call. */
export const nestingMax = 64;

export interface LiteralForm {
  /** Characters of a bare value, and of a bare key. */
  readonly wordKind: RegExp;
  readonly keyKind: RegExp;
  /** What opens a list, and what closes it. */
  readonly lists: Readonly<Record<string, string>>;
  /** Whether a quoted text stands here. */
  readonly atText: (input: Input) => Reading<boolean>;
  /** Stands at its first quote. false: broken off. */
  readonly readText: (input: Input, sink: CallSink) => Reading<boolean>;
}

/** false: what stands there is no literal, or the text ends in it. */
export function* readLiteral(input: Input, form: LiteralForm, depth: number, sink: CallSink): Reading<boolean> {
  yield* skipSpace(input);
  if (yield* form.atText(input)) return yield* form.readText(input, sink);
  const char = yield* peek(input);
  const close = char === '{' ? '}' : form.lists[char];
  if (close !== undefined) {
    if (depth === 0) return false;
    input.take(1);
    return yield* char === '{' ? readMembers(input, form, depth, sink) : readItems(input, form, depth, close, sink);
  }
  const word = yield* readWord(input, form.wordKind);
  if (word !== '') sink.arguments(asJson(word));
  return word !== '';
}

/** Behind a `{`, up to and with its `}`. */
export function* readMembers(input: Input, form: LiteralForm, depth: number, sink: CallSink): Reading<boolean> {
  sink.arguments('{');
  for (let isFirst = true; ; isFirst = false) {
    yield* skipSpace(input);
    if ((yield* peek(input)) === '}') {
      input.take(1);
      sink.arguments('}');
      return true;
    }
    if (!isFirst) sink.arguments(', ');
    if (yield* form.atText(input)) {
      if (!(yield* form.readText(input, sink))) return false;
    } else {
      const key = yield* readWord(input, form.keyKind);
      if (key === '') return false;
      sink.arguments(JSON.stringify(key));
    }
    yield* skipSpace(input);
    if ((yield* peek(input)) !== ':') return false;
    input.take(1);
    sink.arguments(': ');
    if (!(yield* readLiteral(input, form, depth - 1, sink))) return false;
    yield* skipComma(input);
  }
}

function* readItems(input: Input, form: LiteralForm, depth: number, close: string, sink: CallSink): Reading<boolean> {
  sink.arguments('[');
  for (let isFirst = true; ; isFirst = false) {
    yield* skipSpace(input);
    if ((yield* peek(input)) === close) {
      input.take(1);
      sink.arguments(']');
      return true;
    }
    if (!isFirst) sink.arguments(', ');
    if (!(yield* readLiteral(input, form, depth - 1, sink))) return false;
    yield* skipComma(input);
  }
}

function* skipComma(input: Input): Reading<void> {
  yield* skipSpace(input);
  if ((yield* peek(input)) === ',') input.take(1);
}

/** Characters of one kind, at most `wordLenMax`. */
export function* readWord(input: Input, kind: RegExp): Reading<string> {
  let word = '';
  while (word.length < wordLenMax) {
    const char = yield* peek(input);
    if (char === '' || !kind.test(char)) break;
    word += input.take(1);
  }
  return word;
}

const words: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null', true: 'true', false: 'false', null: 'null' };

/** A word that is no string: a constant, a number, or what a string would have been. */
function asJson(word: string): string {
  if (Object.hasOwn(words, word)) return words[word]!;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(word)) return word;
  const number = Number(word.replaceAll('_', ''));
  return Number.isFinite(number) ? String(number) : JSON.stringify(word);
}
