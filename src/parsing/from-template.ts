/**
 * The format of a model that no row describes, seen in what its chat template makes of calls: a conversation with known names and values is
 * rendered, and what stands around them is the markup.
 */
import { isDeepStrictEqual } from 'node:util';
import { OutputParser } from './output-parser.js';
import { typesFrom } from './schema-types.js';
import type { NamedCall, ObjectCall, ParameterMarkup, ToolFormat, WrittenCalls } from './tool-format.js';
import { commonFormat, toolFormats } from './tool-formats.js';

/** Renders messages in the wire's shape; may throw. */
export type Render = (
  messages: readonly object[],
  options: { readonly tools: readonly object[]; readonly addGenerationPrompt: boolean },
) => string;

/** What `--tool-call-parser auto` takes; null: the template prints calls, but in no way that can be read. */
export function toolFormatOf(template: string, render: Render): ToolFormat | null {
  const rows = toolFormats.filter(({ isOf }) => isOf?.(template));
  const printed = printedCalls(render);
  if (printed === null) return rows[0] ?? commonFormat;
  return [...rows, ...formatsFrom(render)].find((format) => reads(format, printed)) ?? null;
}

const question = 'lockstep-question';
const content = 'lockstep-content';
const names = ['lockstep_first', 'lockstep_second'] as const;
const [firstKey, firstValue, secondKey, secondValue] = ['lockstep_key', 'lockstep_value', 'lockstep_number', 73519] as const;
const properties = { [firstKey]: { type: 'string' }, [secondKey]: { type: 'number' } };
const parameters = { type: 'object', properties };
const tools = names.map((name) => ({ type: 'function', function: { name, description: '', parameters } }));
const calls = names.map((name, i) => {
  return { id: `call0000${i}`, type: 'function', function: { name, arguments: { [firstKey]: firstValue, [secondKey]: secondValue } } };
});

/** Two calls as the template prints them, or one where it takes no more; null: it prints none. */
function printedCalls(render: Render): { readonly text: string; readonly count: number } | null {
  for (const count of [2, 1]) {
    try {
      const text = answerOf(render, calls.slice(0, count));
      return text.includes(names[0]) ? { text, count } : null;
    } catch {
      // The template refuses so many calls, or any.
    }
  }
  return null;
}

function reads(format: ToolFormat, { text, count }: { readonly text: string; readonly count: number }): boolean {
  const typesOf = typesFrom(new Map(names.map((name) => [name, parameters])));
  const parser = new OutputParser({
    tools: {
      format,
      isKnown: () => true,
      typesOf,
      isHeld: () => false,
      heads: null,
      forced: false,
      callsMax: names.length,
      newCallId: () => '',
    },
    reasoning: null,
  });
  const events = [...parser.push(text), ...parser.end()];
  const read = names.slice(0, count).map((name, index) => {
    const args = events.map((event) => (event.type === 'arguments' && event.index === index ? event.text : '')).join('');
    return events.some((event) => event.type === 'call' && event.index === index && event.name === name) && args;
  });
  return read.every((args) => args !== false && isDeepStrictEqual(parsed(args), { [firstKey]: firstValue, [secondKey]: secondValue }));
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

/** What stands around names and values, as a format; none where it cannot be told apart. */
function formatsFrom(render: Render): ToolFormat[] {
  try {
    const two = answerOf(render, calls);
    const json = jsonMarkup(answerOf(render, calls.slice(0, 1)));
    const markup = (json === null ? null : objectMarkup(two)) ?? namedMarkup(two);
    const written = json === null ? {} : { written: { ...json, end: upTo(json.end, markup.closes) } };
    return [{ name: 'generic', written: null, ...markup, ...written }];
  } catch {
    return [];
  }
}

/** What an assistant would have written to make these calls: without the head of its turn and without what ends it. */
function answerOf(render: Render, toolCalls: readonly object[]): string {
  const user = { role: 'user', content: question };
  const afterQuestion = (messages: readonly object[], addGenerationPrompt: boolean) => {
    const text = render(messages, { tools, addGenerationPrompt });
    return text.slice(text.lastIndexOf(question) + question.length);
  };
  const called = afterQuestion([user, { role: 'assistant', content: '', tool_calls: toolCalls }], false);
  const said = afterQuestion([user, { role: 'assistant', content }], false);
  const [head = '', tail = ''] = said.split(content);
  const headLen = Math.max(commonPrefixLen(called, head), commonPrefixLen(called, afterQuestion([user], true)));
  return called.slice(headLen, called.length - commonSuffixLen(called, tail));
}

type Markup = Pick<ToolFormat, 'opens' | 'closes' | 'bare' | 'calls'> & Partial<Pick<ToolFormat, 'written'>>;

/** How one call is written, where its arguments are JSON; all markup is its own. */
function jsonMarkup(one: string): WrittenCalls | null {
  const name = positionOf(one, names[0]);
  const start = one.slice(name.end).search(new RegExp(`\\{\\s*"${firstKey}"`));
  if (start < 0) return null;
  const args = jsonAt(one, name.end + start);
  return {
    open: '',
    begin: one.slice(0, name.start).trimStart(),
    nameEnd: one.slice(name.end, args.start),
    arguments: { kind: 'json' },
    end: one.slice(args.end).trimEnd(),
    separator: '',
    close: '',
  };
}

/** null: the name stands in no JSON object. */
function objectMarkup(two: string): Markup | null {
  const objects = names.map((name) => {
    const start = two.lastIndexOf('{', positionOf(two, name).start);
    try {
      return start < 0 ? null : jsonAt(two, start);
    } catch {
      return null;
    }
  });
  const [first, second] = objects;
  if (!first || !second) return null;
  const entries = Object.entries(first.value);
  const nameKey = entries.find(([, value]) => value === names[0])?.[0];
  const argumentKey = entries.find(([, value]) => typeof value === 'object' && value !== null && firstKey in value)?.[0];
  if (nameKey === undefined || argumentKey === undefined) return null;
  const open = two.slice(0, first.start).trim().replace(/\[$/, '').trim();
  const close = two.slice(second.end).trim().replace(/^\]/, '').trim();
  const call: ObjectCall = { kind: 'object', nameKey, argumentKeys: [argumentKey] };
  return { opens: nonEmpty(open), closes: firstTag(close), calls: [call], ...(open === '' ? { bare: true } : {}) };
}

/** Throws where there is no such markup. */
function namedMarkup(two: string): Markup {
  const [name, secondName] = names.map((each) => positionOf(two, each)) as [Span, Span];
  const json = jsonMarkup(two);
  const args = json === null ? parameterMarkup(two, name.end) : null;
  const argsEnd = args?.end ?? jsonAt(two, name.end + json!.nameEnd.length).end;
  const before = two.slice(0, name.start);
  const between = two.slice(argsEnd, secondName.start);
  const after = two.slice(secondName.end + argsEnd - name.end);
  const beginLen = commonSuffixLen(before, between);
  const open = before.slice(0, before.length - beginLen);
  const begin = before.slice(before.length - beginLen);
  const endLen = commonPrefixLen(between.slice(0, between.length - beginLen), after);
  const end = after.slice(0, endLen);
  const closes = firstTag(
    after
      .slice(endLen)
      .replace(/^[\s\],;]+/, '')
      .trim(),
  );
  if (open.trim() === '' && begin.trim() === '') throw new Error('nothing tells that a call begins');
  const nameEnd = args?.nameEnd ?? json!.nameEnd;
  const call: NamedCall = {
    kind: 'named',
    begin: begin.trim(),
    nameEnd: nameEnd.trim(),
    arguments: trimmed(args?.markup),
    end: end.trim(),
  };
  const markup = { opens: [open.trim() === '' ? begin.trim() : open.trim()], closes, calls: [call] };
  if (args === null) return markup;
  const separator = between.slice(endLen, between.length - beginLen);
  const close = upTo(after.slice(endLen), closes).trimEnd();
  const written: WrittenCalls = { open, begin, nameEnd, arguments: { kind: 'parameters', ...args.markup }, end, separator, close };
  return { ...markup, written: { ...written, ...(open === '' ? { begin: begin.trimStart() } : { open: open.trimStart() }) } };
}

const trimmed = (markup: ParameterMarkup | undefined): NamedCall['arguments'] =>
  markup === undefined ? 'json' : { begin: markup.begin.trim(), keyEnd: markup.keyEnd.trim(), end: markup.end.trim() };

/** The arguments of the call whose name ends at `nameEnd`, where each stands between markers, as it is written. `end`: where they end. */
function parameterMarkup(two: string, nameEnd: number): { markup: ParameterMarkup; nameEnd: string; end: number } {
  const [key, value, otherKey, otherValue] = [firstKey, firstValue, secondKey, String(secondValue)].map((text) =>
    positionOf(two, text, nameEnd),
  ) as [Span, Span, Span, Span];
  const before = two.slice(nameEnd, key.start);
  const between = two.slice(value.end, otherKey.start);
  const beginLen = commonSuffixLen(before, between);
  const keyEnd = two.slice(key.end, value.start);
  const end = between.slice(0, between.length - beginLen);
  const markup = { begin: before.slice(before.length - beginLen), keyEnd, end };
  const isSame = two.slice(otherKey.end, otherValue.start) === keyEnd && two.startsWith(end, otherValue.end);
  if (!isSame || [markup.begin, keyEnd, end].some((text) => text.trim() === '')) throw new Error('values are not between equal markers');
  return { markup, nameEnd: before.slice(0, before.length - beginLen), end: otherValue.end + end.length };
}

interface Span {
  readonly start: number;
  readonly end: number;
}

function positionOf(text: string, part: string, from = 0): Span {
  const start = text.indexOf(part, from);
  if (start < 0) throw new Error(`no ${part}`);
  return { start, end: start + part.length };
}

/** The JSON object that begins at `start`: the shortest text that is one. */
function jsonAt(text: string, start: number): Span & { readonly value: Readonly<Record<string, unknown>> } {
  for (let end = text.indexOf('}', start); end >= 0; end = text.indexOf('}', end + 1)) {
    try {
      return { start, end: end + 1, value: JSON.parse(text.slice(start, end + 1)) };
    } catch {
      // A brace further on may end it.
    }
  }
  throw new Error('no JSON');
}

const nonEmpty = (text: string) => (text === '' ? [] : [text]);

/** A closing marker is one tag; behind it stands what ends the turn. */
const firstTag = (text: string) => nonEmpty(/^<[^>]*>/.exec(text)?.[0] ?? text);

function upTo(text: string, [marker]: readonly string[]): string {
  const at = marker === undefined ? -1 : text.indexOf(marker);
  return at < 0 ? text : text.slice(0, at + marker!.length);
}

/** The lengths of what two texts share at their beginning or end. A tag is shared whole or not at all. */
function commonPrefixLen(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return isInTag(a, length) || isInTag(b, length) ? a.lastIndexOf('<', length - 1) : length;
}

function commonSuffixLen(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.at(-1 - length) === b.at(-1 - length)) length++;
  if (!isInTag(a, a.length - length) && !isInTag(b, b.length - length)) return length;
  const tagEnd = a.indexOf('>', a.length - length);
  return tagEnd < 0 ? 0 : a.length - tagEnd - 1;
}

const isInTag = (text: string, at: number) => at > 0 && text.lastIndexOf('<', at - 1) > text.lastIndexOf('>', at - 1);
