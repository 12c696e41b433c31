/** One streamed request to an OpenAI-compatible server and its times on the client's clock. Kept-alive connections; nothing is retried. */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, Agent as TlsAgent } from 'node:https';
import { performance } from 'node:perf_hooks';
import { EventStream } from './event-stream.js';

export interface Endpoint {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
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

interface Chunk {
  readonly choices?: readonly { readonly text?: string; readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error?: { readonly message?: string };
}

// 'http:' and 'https:' by the URL. maxSockets is Infinity, so that --max-concurrency alone bounds the connections.
const agents = { 'http:': new Agent({ keepAlive: true }), 'https:': new TlsAgent({ keepAlive: true }) };

/**
 * A request whose answer is read by the caller. Rejects when no answer begins. A kept-alive connection that the server closed while
 * the request was on its way is no failure of the request: it is sent again on a new one.
 */
export async function send(endpoint: Endpoint, method: 'GET' | 'POST', body: string | null): Promise<IncomingMessage> {
  for (;;) {
    const outgoing = begin(endpoint, method, body);
    try {
      return await new Promise((resolve, reject) => outgoing.on('response', resolve).on('error', reject));
    } catch (error) {
      if (!outgoing.reusedSocket || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    }
  }
}

function begin(endpoint: Endpoint, method: 'GET' | 'POST', body: string | null): ClientRequest {
  const isTls = endpoint.url.protocol === 'https:';
  const headers: Record<string, string | number> = { ...endpoint.headers };
  if (body !== null) Object.assign(headers, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  const options = { method, headers, agent: agents[isTls ? 'https:' : 'http:'], timeout: endpoint.timeoutMs };
  const outgoing = (isTls ? httpsRequest : httpRequest)(endpoint.url, options);
  outgoing.on('timeout', () => outgoing.destroy(new Error(`no data for ${endpoint.timeoutMs} ms`)));
  outgoing.end(body ?? undefined);
  return outgoing;
}

/** The whole answer as JSON. Throws on another status than 200. */
export async function sendJson(endpoint: Endpoint, method: 'GET' | 'POST', body: unknown): Promise<unknown> {
  const answer = await send(endpoint, method, body === null ? null : JSON.stringify(body));
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  if (answer.statusCode !== 200) throw new Error(`${endpoint.url.pathname} answered ${answer.statusCode}: ${text.slice(0, 200)}`);
  return JSON.parse(text) as unknown;
}

/** Sends `body`, which asks for a stream, and times its events. Never rejects: what went wrong is in `error`. */
export async function streamRequest(endpoint: Endpoint, body: string): Promise<RequestResult> {
  const startMs = performance.now();
  let ttftMs = 0;
  let lastMs = startMs;
  const itlMs: number[] = [];
  const texts: string[] = [];
  let usage: Chunk['usage'] = null;
  let error: string | null = null;

  const take = (payload: string, now: number) => {
    if (payload === '[DONE]') return;
    const chunk = JSON.parse(payload) as Chunk;
    if (chunk.error) error = chunk.error.message ?? payload;
    if (chunk.usage) usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    if (ttftMs === 0) ttftMs = now - startMs;
    else itlMs.push(now - lastMs);
    lastMs = now;
    texts.push(choice.text ?? choice.delta?.content ?? '');
  };

  try {
    const answer = await send(endpoint, 'POST', body);
    const stream = new EventStream();
    let refusal = '';
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const now = performance.now();
      if (answer.statusCode !== 200) refusal += chunk.toString();
      else for (const payload of stream.push(chunk)) take(payload, now);
    }
    if (answer.statusCode !== 200) error = `status ${answer.statusCode}: ${refusal.slice(0, 300)}`;
    else if (ttftMs === 0) error ??= 'the stream had no choices';
  } catch (cause) {
    error = (cause as Error).message;
  }
  const { prompt_tokens: promptTokens = null, completion_tokens: outputTokens = null } = (usage ?? {}) as Partial<
    NonNullable<Chunk['usage']>
  >;
  return { error, startMs, ttftMs, latencyMs: lastMs - startMs, itlMs, text: texts.join(''), promptTokens, outputTokens };
}
