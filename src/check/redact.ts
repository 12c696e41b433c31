/**
 * What people wrote and what a model answered, replaced by text of the same length, so that the same request can be sent again with prompts
 * that are about as long. Kept are words of the protocol (roles, types, models, reasons) and what the program itself brought: names of
 * functions and JSON Schemas, without their descriptions.
 */
import type { Exchange, Payload, RecordedEvent } from './exchange.js';

const filler = 'the quick brown fox jumps over the lazy dog and then sleeps in the warm sun by the old river until the evening comes ';

/** Values that are words of the protocol, not text. */
// biome-ignore format: a table
const protocolKeys = new Set([
  'detail', 'effort', 'encoding_format', 'finish_reason', 'format', 'id', 'mode', 'model', 'object', 'param',
  'reasoning_effort', 'role', 'service_tier', 'status', 'stop_reason', 'system_fingerprint', 'tool_call_id', 'tool_choice', 'truncation',
  'truncation_side', 'type', 'verbosity',
]);
/** What holds a function's name; elsewhere a name may be a person's. */
const namingKeys = new Set(['function', 'function_call', 'functions', 'json_schema', 'tool_calls', 'tool_choice', 'tools']);
/** JSON Schemas, regular expressions and grammars: the program's. */
const schemaKeys = new Set([
  'schema',
  'parameters',
  'input_schema',
  'json',
  'regex',
  'grammar',
  'guided_json',
  'guided_regex',
  'guided_grammar',
]);
/** Maps whose keys are tokens. */
const tokenMaps = new Set(['top_logprobs', 'prompt_logprobs']);

/** A picture of one pixel, so that what asks for a picture still gets one. */
const picture = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const elsewhere = 'https://redacted.invalid/';

/** As many characters as `text`, none of which was there but for spaces at its ends. */
export function likeText(text: string): string {
  const core = text.trim();
  const [before, after] = [text.length - text.trimStart().length, text.length - text.trimEnd().length];
  if (core === '') return text;
  const filled = filler
    .repeat(Math.ceil(core.length / filler.length))
    .slice(0, core.length)
    .replace(/\s$/, 's');
  return text.slice(0, before) + filled + text.slice(text.length - after);
}

export function redact<Whole extends Exchange>(exchange: Whole): Whole {
  const { response } = exchange;
  return {
    ...exchange,
    ...redactPayload(exchange),
    ...(response === null ? {} : { response: { ...response, ...redactPayload(response) } }),
  };
}

function redactPayload({ body, text, events }: Payload): Payload {
  return {
    ...(body === undefined ? {} : { body: redactValue(body, '', '') }),
    ...(text === undefined ? {} : { text: likeText(text) }),
    ...(events === undefined ? {} : { events: events.map(redactEvent) }),
  };
}

const redactEvent = (event: RecordedEvent): RecordedEvent => ({
  ...event,
  data: event.data === '[DONE]' ? event.data : redactValue(event.data, '', ''),
});

/** `key`: under which it stands; `above`: the key of what it stands in. Items of a list stand under the list's key. */
function redactValue(value: unknown, key: string, above: string): unknown {
  if (typeof value === 'string') return redactString(value, key, above);
  if (Array.isArray(value)) return isNumbers(value) ? redactNumbers(value) : value.map((each) => redactValue(each, key, above));
  if (typeof value !== 'object' || value === null) return value;
  if (schemaKeys.has(key)) return withoutDescriptions(value);
  if (key === 'metadata' || key === 'input') return redactFree(value); // of users; what a model gave to a tool
  const isMap = tokenMaps.has(key) && !('token' in value);
  return Object.fromEntries(
    Object.entries(value).map(([name, each], i) => [isMap ? String(firstId + i) : name, redactValue(each, name, key)]),
  );
}

function redactString(text: string, key: string, above: string): string {
  if (protocolKeys.has(key) || schemaKeys.has(key) || (key === 'name' && namingKeys.has(above))) return text;
  if (key === 'url' || key === 'image_url') return text.startsWith('data:image/') ? picture : elsewhere;
  return key === 'arguments' ? redactArguments(text) : likeText(text);
}

/** Chat templates read the arguments of calls as JSON; those of a stream come in pieces, which are none. */
function redactArguments(text: string): string {
  try {
    return JSON.stringify(redactFree(JSON.parse(text)));
  } catch {
    return likeText(text);
  }
}

/** Whose keys are not of the protocol: every text in it. */
function redactFree(value: unknown): unknown {
  if (typeof value === 'string') return likeText(value);
  if (typeof value === 'number') return 1;
  if (Array.isArray(value)) return value.map(redactFree);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, redactFree(each)]));
}

/** An id that nearly every vocabulary has. */
const firstId = 100;
const idsInUse = 100;

const isNumbers = (values: readonly unknown[]) => values.length > 0 && values.every((value) => typeof value === 'number');

/** Lists of numbers are token ids, bytes of tokens or embeddings: all of them tell the text. */
const redactNumbers = (values: readonly unknown[]): number[] =>
  values.map((value, i) => (Number.isInteger(value) ? firstId + (i % idsInUse) : 0.01));

function withoutDescriptions(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDescriptions);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).map(([name, value]) => [
    name,
    name === 'description' && typeof value === 'string' ? likeText(value) : withoutDescriptions(value),
  ]);
  return Object.fromEntries(entries);
}
