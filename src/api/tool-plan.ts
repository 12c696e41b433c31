/**
 * How the calls of an answer are read, and the grammar that keeps them valid where they must be. Forced calls are written in the model's own
 * markup wherever its arguments are JSON, so that one parser reads them and free ones.
 */
import { randomBytes } from 'node:crypto';
import type { GrammarSpec, TagSpec } from '../grammar/spec.js';
import type { ToolReading } from '../parsing/output-parser.js';
import type { ReasoningFormat, ReasoningStart } from '../parsing/reasoning-format.js';
import { typesFrom } from '../parsing/schema-types.js';
import { commonFormat, type JsonMarkup, type ToolFormat } from '../parsing/tool-format.js';
import type { ToolRequest } from './tools.js';

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
  const format = isFree || own.json !== null ? own : commonFormat;
  const reading: ToolReading = {
    format,
    isKnown: (name) => functions.has(name),
    typesOf: typesFrom(new Map([...functions.values()].map(({ name, schema }) => [name, schema]))),
    forced,
    callsMax: parallel ? Number.POSITIVE_INFINITY : 1,
    newCallId: () => newCallId(format, callIdPrefix),
  };
  return { reading, grammar: isFree ? null : grammarOf(request, format, forced ? null : answer) };
}

/** As models are shown arguments: left free, small ones fill the room with it. */
const whitespace = 'none';

function grammarOf({ functions, choice, parallel }: ToolRequest, format: ToolFormat, answer: GrammarSpec | null): GrammarSpec {
  const json = format.json!;
  const forced = choice !== 'auto';
  const tags = [...functions.values()].map(({ name, schema, strict }): TagSpec => {
    const content: GrammarSpec = forced || strict ? { kind: 'json_schema', schema, whitespace } : { kind: 'json_object', whitespace };
    return { kind: 'tag', begin: json.begin + name + json.nameEnd, content, end: json.end };
  });
  const calls: GrammarSpec = { kind: 'tags', tags, separator: json.separator, atLeastOne: true, stopAfterFirst: !parallel };
  if (forced) return calls;
  if (answer !== null) return { kind: 'any_of', elements: [calls, answer] };
  return { kind: 'triggered_tags', triggers: [triggerOf(format.opens, json)], tags, atLeastOne: false, stopAfterFirst: !parallel };
}

/** What a call begins with, however the model spaces what follows. */
const triggerOf = (opens: readonly string[], { begin }: JsonMarkup) =>
  opens.find((open) => begin.startsWith(open)) ?? begin.slice(0, begin.indexOf(':'));

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
