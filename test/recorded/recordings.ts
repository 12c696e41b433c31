/** The recorded answers of vLLM (shared data/vllm-recordings): reading them, and what of an answer can be compared. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sharedData } from '../shared-data.js';

// biome-ignore lint/suspicious/noExplicitAny: recorded JSON of any shape
export type Json = any;

export interface RecordedCase {
  readonly name: string;
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Json;
  /** Text sent as it is, in place of a body. */
  readonly raw?: string;
  readonly response: { readonly status: number; readonly content_type: string; readonly body?: Json; readonly events?: readonly Json[] };
}

export function readCases(file: string): RecordedCase[] {
  const cases = JSON.parse(readFileSync(join(sharedData ?? '', 'vllm-recordings', file), 'utf8')) as RecordedCase[];
  return cases.map(({ response, ...rest }) => {
    const { events } = response;
    return { ...rest, response: events === undefined ? response : { ...response, events: events.map(withoutName) } };
  });
}

/** An event that was recorded with its name: what it holds, which has the name in it. */
const withoutName = (event: Json) => (event.__other__ === undefined ? event : dataOf(event.__other__));

/** An event as it was sent -> what it holds. */
export function dataOf(event: string): Json {
  const lines = event.split('\n');
  const data = lines.at(-1)!.slice('data: '.length);
  const value = data === '[DONE]' ? data : JSON.parse(data);
  if (lines.length > 1 && lines[0] !== `event: ${value.type}`) throw new Error(`the name of an event is not its type: ${event}`);
  return value;
}

const volatile: Readonly<Record<string, string>> = {
  created: '<time>',
  created_at: '<time>',
  system_fingerprint: '<fingerprint>',
  owned_by: '<owner>',
};

/**
 * An answer with what differs from run to run replaced: ids by their prefix, times, fingerprints, and of log-probabilities the values and
 * the other likely tokens. Keys, nulls, texts and counts stay.
 */
export function comparable(value: Json, key = ''): Json {
  if (value === null) return null;
  if (key in volatile) return volatile[key];
  if (typeof value === 'string') return /^(id|item_id)$/.test(key) ? value.replace(/[0-9a-f]{16}$/, '<random>') : value;
  if (key === 'logprob' || key === 'rank' || /(cache|cached|cache_write)_tokens$/.test(key)) return typeof value;
  if (key === 'token_logprobs') return (value as Json[]).map((each) => (each === null ? null : typeof each));
  if (key === 'top_logprobs') return (value as Json[]).map((each) => (each === null ? null : comparableTop(each)));
  if (key === 'prompt_logprobs')
    return (value as Json[]).map((each) => (each === null ? null : Object.keys(Object.values(each as object)[0] as object).sort()));
  if (Array.isArray(value)) return value.map((each) => comparable(each));
  if (typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value as object).map(([name, each]) => [name, comparable(each, name)]));
}

/** A token of chat's list, or a completion's map from text to log-probability. */
function comparableTop(top: Json): Json {
  if ('logprob' in top) return Object.keys(top).sort();
  return Object.values(top).map((each) => typeof each)[0];
}

/** Numbers that do not depend on what the model says. */
const exact = new Set(['index', 'max_model_len', 'count', 'prompt_tokens']);

/**
 * An answer by its keys, nulls and types. Lists become the kinds of their items, maps whose keys are tokens become the kinds of their
 * values; why a choice ended is not compared.
 */
export function shapeOf(value: Json, key = ''): Json {
  if (key === 'finish_reason' || key === 'stop_reason') return value === null && key === 'finish_reason' ? null : '<reason>';
  if (value === null || exact.has(key)) return value;
  if (Array.isArray(value)) return [...new Set(value.map((each) => JSON.stringify(shapeOf(each, `${key}[]`))))].sort();
  if (typeof value !== 'object') return value === '[DONE]' ? value : typeof value;
  if (key === 'top_logprobs[]' && !('logprob' in value)) return ['number'];
  if (key === 'prompt_logprobs[]') return shapeOf(Object.values(value as object)[0]);
  return Object.fromEntries(Object.entries(value as object).map(([name, each]) => [name, shapeOf(each, name)]));
}
