/** A recorded request sent again, and its answer held against the recorded one: whole, or by shape where the texts may differ. */
import assert from 'node:assert/strict';
import { comparable, dataOf, type Json, type RecordedCase, shapeOf } from './recordings.js';
import type { Difference } from './scope.js';

/** Cases without an authorization header were sent with the key, where one is set; those with headers give their own. */
export function sendRecorded(base: string, { method, path, headers, body, raw }: RecordedCase, key: string | null): Promise<Response> {
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const authorization: Record<string, string> = key === null || headers !== undefined ? {} : { authorization: `Bearer ${key}` };
  return fetch(base + path, {
    method: method ?? (sent === undefined ? 'GET' : 'POST'),
    headers: { ...(sent === undefined ? {} : { 'content-type': 'application/json' }), ...authorization, ...headers },
    ...(sent === undefined ? {} : { body: sent }),
  });
}

export function compareDifference(expect: Difference['expect'], answer: Response, text: string): void {
  assert.equal(answer.status, expect.status, text);
  if (expect.status < 400) return;
  const { error } = JSON.parse(text) as Json;
  if (expect.message) assert.match(error.message, expect.message);
  if (expect.param !== undefined) assert.equal(error.param, expect.param);
}

/** Without what says whether the model came to its end within the tokens that were asked for: another text may. */
const endingAnyhow = (value: Json): Json => JSON.parse(JSON.stringify(value, (key, part) => (key === 'incomplete_details' ? null : part)));

/** Status, error and shape are those recorded: for a server whose model finds its own words. */
export function compareShape({ response }: RecordedCase, answer: Response, text: string): void {
  assert.equal(answer.status, response.status, text);
  if (response.events !== undefined) {
    const kinds = (events: readonly Json[]) => [...new Set(events.map((event) => JSON.stringify(shapeOf(endingAnyhow(event)))))].sort();
    assert.deepEqual(kinds(eventsOf(text)), kinds(response.events));
    return;
  }
  if (typeof response.body === 'string') {
    assert.equal(text, response.body);
    return;
  }
  const body = JSON.parse(text) as Json;
  if (response.body.error !== undefined) compareError(body.error, response.body.error);
  else assert.deepEqual(shapeOf(endingAnyhow(body)), shapeOf(endingAnyhow(response.body)));
  if (response.body.usage) assert.equal(body.usage.prompt_tokens, response.body.usage.prompt_tokens);
}

function eventsOf(text: string): Json[] {
  const events = text.split('\n\n').filter((event) => event !== '');
  return events.map(dataOf);
}

/** Keys, nulls, texts and counts are those recorded: for a server that replays the recorded ids. */
export function compareWhole({ response }: RecordedCase, answer: Response, text: string): void {
  assert.equal(answer.status, response.status, text);
  assert.equal(
    (answer.headers.get('content-type') ?? '').replace('; charset=utf-8', ''),
    (response.content_type ?? '').replace('; charset=utf-8', ''),
  );
  if (response.events !== undefined) {
    const parsed = eventsOf(text).map((event) => comparable(event));
    assert.deepEqual(inOrderOfChoice(parsed), inOrderOfChoice(response.events.map((event) => comparable(event))));
    return;
  }
  if (typeof response.body === 'string') {
    assert.equal(text, response.body);
    return;
  }
  const body = JSON.parse(text) as Json;
  if (response.body.error !== undefined) compareError(body.error, response.body.error);
  else assert.deepEqual(comparable(body), comparable(response.body));
}

/** Of pydantic's errors (Bad Request) the message is a Python representation: only status, type and parameter are compared. */
function compareError(error: Json, recorded: Json): void {
  assert.equal(error.type, recorded.type, error.message);
  assert.equal(error.param, recorded.param, error.message);
  assert.ok(error.code === null || typeof error.code === 'string');
  if (recorded.type !== 'Bad Request') assert.equal(error.message, recorded.message);
  else assert.ok(error.message.length > 0);
}

/** How the chunks of several choices interleave is the engine's affair. */
function inOrderOfChoice(events: Json[]): Json[] {
  const indexOf = (event: Json) => event.choices?.[0]?.index ?? Number.MAX_SAFE_INTEGER;
  return events
    .map((event, i) => ({ event, i }))
    .sort((a, b) => indexOf(a.event) - indexOf(b.event) || a.i - b.i)
    .map(({ event }) => event);
}
