/**
 * How the calls of an answer are read, and the grammar that keeps them valid where they must be. Forced calls are written in the model's own
 * markup wherever the names of all parameters can be, so that one parser reads them and free ones.
 */
import { randomBytes } from 'node:crypto';
import type { GrammarSpec, TagSpec } from '../grammar/spec.js';
import type { ToolReading } from '../parsing/output-parser.js';
import type { ReasoningFormat, ReasoningStart } from '../parsing/reasoning-format.js';
import { typesFrom } from '../parsing/schema-types.js';
import { type ToolFormat, type WrittenCalls, writtenKeys } from '../parsing/tool-format.js';
import { commonFormat } from '../parsing/tool-formats.js';
import type { CallableFunction, ToolRequest } from './tools.js';

export interface ToolPlan {
  readonly reading: ToolReading;
  /** null: the model is free. */
  readonly grammar: GrammarSpec | null;
}

/** `answer`: what the answer must be where it calls nothing; null: any text. */
export function planTools(request: ToolRequest, own: ToolFormat, answer: GrammarSpec | null, callIdPrefix: string): ToolPlan {
  const { functions, choice, parallel, isRestricted } = request;
  const forced = choice !== 'auto';
  const isFree = !forced && !isRestricted && answer === null && [...functions.values()].every(({ strict }) => !strict);
  const format = isFree || canWrite(own, functions.values()) ? own : commonFormat;
  const reading: ToolReading = {
    format,
    isKnown: (name) => functions.has(name),
    typesOf: typesFrom(new Map([...functions.values()].map(({ name, schema }) => [name, schema]))),
    isHeld: (name) => forced || functions.get(name)?.strict === true,
    heads: isFree || forced || answer !== null ? null : headsOf(request, format),
    forced,
    callsMax: parallel ? Number.POSITIVE_INFINITY : 1,
    newCallId: () => newCallId(format, callIdPrefix),
  };
  return { reading, grammar: isFree ? null : grammarOf(request, format, forced ? null : answer) };
}

/** Whether the names of all parameters can stand where the format has them. */
function canWrite({ written }: ToolFormat, functions: Iterable<CallableFunction>): boolean {
  if (written === null) return false;
  const key = new RegExp(`^${writtenKeys[written.arguments.kind]}$`, 'u');
  return [...functions].every(({ schema }) =>
    Object.keys((schema as { properties?: object }).properties ?? {}).every((name) => key.test(name)),
  );
}

/** As models are shown arguments: left free, small ones fill the room with it. */
const whitespace = 'none';

function grammarOf(request: ToolRequest, format: ToolFormat, answer: GrammarSpec | null): GrammarSpec {
  const { functions, choice, parallel, isLegacy } = request;
  const written = format.written!;
  const forced = choice !== 'auto';
  const field = isLegacy ? 'functions' : 'tools';
  if (forced || answer !== null) {
    const tags = [...functions.values()].map((each) => tagOf(each, written, forced));
    const run: GrammarSpec = { kind: 'tags', tags, separator: written.separator, atLeastOne: true, stopAfterFirst: !parallel };
    const calls: GrammarSpec = { kind: 'field', name: field, grammar: inOrder(literal(written.open), run, literal(written.close)) };
    return forced ? calls : { kind: 'any_of', elements: [calls, answer!] };
  }
  const tags = runsOfOne(request, format);
  const triggers = triggersOf(format.opens, tags);
  const excludes = format.opens.filter((open) => !triggers.some((trigger) => trigger.startsWith(open)));
  const grammar: GrammarSpec = { kind: 'triggered_tags', triggers, tags, atLeastOne: false, stopAfterFirst: !parallel, excludes };
  return { kind: 'field', name: field, grammar };
}

/** Each call is a run of its own. */
function runsOfOne({ functions }: ToolRequest, { written }: ToolFormat): TagSpec[] {
  const { open, begin, end, close } = written!;
  const alone = { ...written!, begin: open + begin, end: end + close };
  return [...functions.values()].map((each) => tagOf(each, alone, false));
}

const headsOf = (request: ToolRequest, format: ToolFormat) => triggersOf(format.opens, runsOfOne(request, format));

const literal = (text: string): GrammarSpec => ({ kind: 'literal', text });
const inOrder = (...elements: GrammarSpec[]): GrammarSpec => ({ kind: 'sequence', elements });

/** What a call begins with, however the model spaces what follows. */
function triggersOf(opens: readonly string[], tags: readonly TagSpec[]): string[] {
  const open = opens.find((each) => tags.every(({ begin }) => begin.startsWith(each)));
  if (open !== undefined) return [open];
  return [...new Set(tags.map(({ begin }) => begin.slice(0, begin.includes(':') ? begin.indexOf(':') : begin.length)))];
}

function tagOf({ name, schema, field, strict }: CallableFunction, written: WrittenCalls, forced: boolean): TagSpec {
  const tag = { kind: 'tag', begin: written.begin + name + written.nameEnd, end: written.end } as const;
  const form = written.arguments;
  if (forced || strict) {
    const grammar: GrammarSpec =
      form.kind === 'json' ? { kind: 'json_schema', schema, whitespace } : { kind: 'arguments', schema, form, whitespace };
    return { ...tag, content: { kind: 'field', name: field, grammar } };
  }
  if (form.kind === 'json') return { ...tag, content: { kind: 'json_object', whitespace } };
  return { ...tag, content: { kind: 'free_text', until: written.end }, end: '' };
}

/** What follows reasoning, where the answer begins with it or may. */
export function afterReasoningOf({ begin, end }: ReasoningFormat, start: ReasoningStart, grammar: GrammarSpec): GrammarSpec {
  if (start === 'over') return grammar;
  const rest: GrammarSpec[] = [{ kind: 'free_text', until: end }, { kind: 'regex', pattern: '[ \\n]{0,4}' }, grammar];
  if (start === 'begun') return { kind: 'sequence', elements: rest };
  return { kind: 'any_of', elements: [{ kind: 'sequence', elements: [{ kind: 'literal', text: begin }, ...rest] }, grammar] };
}

const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

function newCallId({ callIdLen }: ToolFormat, prefix: string): string {
  if (callIdLen === undefined) return prefix + randomBytes(8).toString('hex');
  return Array.from(randomBytes(callIdLen), (byte) => letters[byte % letters.length]).join('');
}
