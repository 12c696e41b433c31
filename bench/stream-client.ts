/**
 * One streamed request to an OpenAI-compatible server and its times on the client's clock. While a request runs its bytes are only kept,
 * with the time of each read (`connections.ts`): the client shares the machine with the server, and parsing an event takes longer than
 * making it. `readResult` makes figures of them afterwards.
 */

import { EventStream } from '../src/event-stream.js';
import type { TimedBody } from './answer-reader.js';
import { exchange } from './connections.js';

export interface Endpoint {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A request without data for so long has failed. */
  readonly timeoutMs: number;
}

export interface RequestResult {
  /** null: an answer with status 200 and at least one choice came. */
  readonly error: string | null;
  readonly startMs: number;
  /** From start to the first event with choices. */
  readonly ttftMs: number;
  /** From start to the last event with choices. */
  readonly latencyMs: number;
  /** Gaps between events with choices. */
  readonly itlMs: readonly number[];
  readonly text: string;
  /** As the server counts them; null: it did not say. */
  readonly promptTokens: number | null;
  readonly outputTokens: number | null;
}

/** An answer that has come and was not read yet. */
export interface TimedAnswer {
  readonly startMs: number;
  readonly body: TimedBody | Error;
}

interface Chunk {
  readonly choices?: readonly { readonly text?: string; readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error?: { readonly message?: string };
}

function requestText({ url, headers }: Endpoint, method: 'GET' | 'POST', body: string | null): string {
  const content = body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const lines = Object.entries({ host: url.host, ...headers, ...content }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n${body ?? ''}`;
}

/** The whole answer as JSON. Throws on another status than 200. */
export async function sendJson(endpoint: Endpoint, method: 'GET' | 'POST', body: unknown): Promise<unknown> {
  const text = requestText(endpoint, method, body === null ? null : JSON.stringify(body));
  const { status, bytes } = await exchange(endpoint.url, text, endpoint.timeoutMs);
  if (status !== 200) throw new Error(`${endpoint.url.pathname} answered ${status}: ${bytes.toString('utf8', 0, 200)}`);
  return JSON.parse(bytes.toString()) as unknown;
}

/** Sends `body`, which asks for a stream. Never rejects. */
export async function streamRequest(endpoint: Endpoint, body: string): Promise<TimedAnswer> {
  const text = requestText(endpoint, 'POST', body);
  const startMs = performance.now();
  const answer = await exchange(endpoint.url, text, endpoint.timeoutMs).catch((error: Error) => error);
  return { startMs, body: answer };
}

/** The events of an answer, each at the time of the read that completed it. */
export function readResult({ startMs, body }: TimedAnswer): RequestResult {
  const nothing = { startMs, ttftMs: 0, latencyMs: 0, itlMs: [], text: '', promptTokens: null, outputTokens: null };
  if (body instanceof Error) return { ...nothing, error: body.message };
  if (body.status !== 200) return { ...nothing, error: `status ${body.status}: ${body.bytes.toString('utf8', 0, 300)}` };
  const times: number[] = [];
  const texts: string[] = [];
  let usage: Chunk['usage'] = null;
  let error: string | null = null;
  const take = (payload: string, nowMs: number) => {
    if (payload === '[DONE]') return;
    const chunk = JSON.parse(payload) as Chunk;
    if (chunk.error) error = chunk.error.message ?? payload;
    if (chunk.usage) usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    times.push(nowMs);
    texts.push(choice.text ?? choice.delta?.content ?? '');
  };
  const stream = new EventStream();
  try {
    for (const [i, end] of body.readEnds.entries()) {
      for (const payload of stream.push(body.bytes.subarray(body.readEnds[i - 1] ?? 0, end))) take(payload, body.readMs[i]!);
    }
  } catch (cause) {
    error ??= (cause as Error).message;
  }
  if (times.length === 0) error ??= 'the stream had no choices';
  const { prompt_tokens: promptTokens = null, completion_tokens: outputTokens = null } = (usage ?? {}) as Partial<
    NonNullable<Chunk['usage']>
  >;
  return {
    error,
    startMs,
    ttftMs: (times[0] ?? startMs) - startMs,
    latencyMs: (times.at(-1) ?? startMs) - startMs,
    itlMs: times.slice(1).map((time, i) => time - times[i]!),
    text: texts.join(''),
    promptTokens,
    outputTokens,
  };
}
