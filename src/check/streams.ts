/** Streams of chat and completions, event by event: against what OpenAI documents, and against another server's stream. */
import { isObject, type JsonObject } from '../api/json-object.js';
import type { Schema } from '../api/schema.js';
import type { RecordedEvent } from './exchange.js';
import { type Difference, differencesFrom, documentedDifferences, unique } from './shape.js';

export interface StreamRules {
  readonly chunk: Schema;
  /** stream_options.include_usage. */
  readonly asksUsage: boolean;
  /** The first chunk of a choice names its role. */
  readonly hasRole: boolean;
}

export const choicesOf = (data: JsonObject): readonly JsonObject[] =>
  Array.isArray(data['choices']) ? data['choices'].filter((choice) => isObject(choice)) : [];

/** What an event is for. Those of other APIs say it themselves (`type`). */
export function kindOf({ data }: RecordedEvent): string {
  if (data === '[DONE]') return '[DONE]';
  if (!isObject(data)) return 'no JSON';
  if (isObject(data['error'])) return 'error';
  if (typeof data['type'] === 'string') return data['type'];
  const [choice] = choicesOf(data);
  if (choice === undefined) return 'usage';
  if (typeof choice['finish_reason'] === 'string') return 'finish';
  return isObject(choice['delta']) && typeof choice['delta']['role'] === 'string' ? 'role' : 'content';
}

/** Where a stream is not as documented: its chunks, their order, ids and times, reasons, usage and its end. */
export function documentedStreamDifferences(events: readonly RecordedEvent[], rules: StreamRules): Difference[] {
  const chunks = events.map(({ data }) => data).filter((data): data is JsonObject => isObject(data) && !isObject(data['error']));
  return unique([
    ...chunks.flatMap((chunk) => documentedDifferences(rules.chunk, chunk)),
    ...orderDifferences(events),
    ...(rules.hasRole ? roleDifferences(chunks) : []),
    ...['id', 'created'].filter((name) => new Set(chunks.map((chunk) => chunk[name])).size > 1).map(notTheSame),
    ...reasonDifferences(chunks),
    ...usageDifferences(chunks, rules.asksUsage),
  ]);
}

const notTheSame = (path: string): Difference => ({ path, what: 'not the same in all chunks' });

function orderDifferences(events: readonly RecordedEvent[]): Difference[] {
  const kinds = events.map(kindOf);
  const error = events.find((event) => kindOf(event) === 'error');
  return [
    ...(kinds.at(-1) === '[DONE]' ? [] : [{ path: '[DONE]', what: 'missing, where it is the end' }]),
    ...(kinds.indexOf('[DONE]') < kinds.length - 1 && kinds.includes('[DONE]') ? [{ path: '[DONE]', what: 'not the last event' }] : []),
    ...(kinds.includes('no JSON') ? [{ path: 'data', what: 'no JSON' }] : []),
    ...(error === undefined ? [] : [{ path: 'error', what: `in the stream: ${JSON.stringify((error.data as JsonObject)['error'])}` }]),
  ];
}

function byChoice(chunks: readonly JsonObject[]): Map<unknown, JsonObject[]> {
  const pieces = new Map<unknown, JsonObject[]>();
  for (const choice of chunks.flatMap(choicesOf)) pieces.set(choice['index'], [...(pieces.get(choice['index']) ?? []), choice]);
  return pieces;
}

function roleDifferences(chunks: readonly JsonObject[]): Difference[] {
  const firsts = [...byChoice(chunks).values()].map(([first]) => first!['delta']);
  const isMissing = firsts.some((delta) => !isObject(delta) || typeof delta['role'] !== 'string');
  return isMissing ? [{ path: 'choices[].delta.role', what: 'missing from the first chunk of a choice' }] : [];
}

function reasonDifferences(chunks: readonly JsonObject[]): Difference[] {
  const path = 'choices[].finish_reason';
  return [...byChoice(chunks).values()].flatMap((pieces) => {
    const given = pieces.map((piece) => typeof piece['finish_reason'] === 'string');
    const count = given.filter((each) => each).length;
    if (count !== 1) return [{ path, what: count === 0 ? 'never given' : 'given more than once' }];
    return given.at(-1) ? [] : [{ path, what: 'not in the last chunk of its choice' }];
  });
}

function usageDifferences(chunks: readonly JsonObject[], isAsked: boolean): Difference[] {
  const path = 'usage';
  if (!isAsked) {
    return chunks.some((chunk) => Object.hasOwn(chunk, path)) ? [{ path, what: 'there, where it was not asked for' }] : [];
  }
  const last = chunks.at(-1);
  const before = chunks.slice(0, -1);
  return [
    ...(last !== undefined && choicesOf(last).length === 0 && isObject(last[path])
      ? []
      : [{ path, what: 'missing from a last chunk that has no choices' }]),
    ...(before.every((chunk) => Object.hasOwn(chunk, path))
      ? []
      : [{ path, what: 'missing before the last chunk, where null is documented' }]),
    ...(before.some((chunk) => isObject(chunk[path])) ? [{ path, what: 'an object before the last chunk, where null is documented' }] : []),
  ];
}

/** How many pieces a text comes in, and whether calls or reasoning are among them, is the model's affair. */
const skeletonOf = (events: readonly RecordedEvent[]) =>
  events
    .map(kindOf)
    .filter((kind) => kind !== 'content')
    .filter((kind, i, all) => kind !== all[i - 1]);

/** Where a stream is another one than the reference: order of the kinds of events, and the shape of each kind. */
export function streamDifferencesFrom(reference: readonly RecordedEvent[], events: readonly RecordedEvent[]): Difference[] {
  const [wanted, found] = [skeletonOf(reference).join(', '), skeletonOf(events).join(', ')];
  const order = wanted === found ? [] : [{ path: 'order', what: `${found || 'nothing'}, where ${wanted} is` }];
  const shapes = events.flatMap((event) => {
    const same = reference.find((each) => kindOf(each) === kindOf(event));
    return same === undefined ? [] : differencesFrom(same.data, event.data);
  });
  return unique([...order, ...shapes]);
}
