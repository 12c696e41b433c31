/** Sends a request to a server and reads all of its answer, on a connection of its own: a server may close one that nobody uses. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Answer, KeptBytes, readPayload, urlAt } from './exchange.js';

export interface Target {
  readonly base: URL;
  readonly apiKey: string | null;
  /** Asked for in place of the recorded one; null: that. */
  readonly model: string | null;
  /** For a whole answer. */
  readonly timeoutMs: number;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** null: none. */
  readonly content: string | null;
}

/** No answer, or not all of one. */
export class NoAnswer extends Error {}

const answerBytesMax = 64 * 2 ** 20;

/** Throws NoAnswer. */
export function send(target: Target, { method, path, headers, content }: Request): Promise<Answer> {
  const url = urlAt(target.base, path);
  if (url === null) return Promise.reject(new NoAnswer(`'${path}' is no path`));
  const keys: Record<string, string> =
    target.apiKey === null ? {} : { authorization: `Bearer ${target.apiKey}`, 'x-api-key': target.apiKey };
  const length: Record<string, number> = content === null ? {} : { 'content-length': Buffer.byteLength(content) };
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const signal = AbortSignal.timeout(target.timeoutMs);
    const asked = open(url, { method, headers: { ...headers, ...keys, ...length }, agent: false, signal });
    const fail = (error: Error) =>
      reject(new NoAnswer(signal.aborted ? `no whole answer within ${target.timeoutMs / 1000} s` : error.message, { cause: error }));
    asked.on('error', fail);
    asked.on('response', (answer) => readAnswer(answer, begun).then(resolve, fail));
    asked.end(content ?? undefined);
  });
}

async function readAnswer(answer: IncomingMessage, begun: number): Promise<Answer> {
  const kept = new KeptBytes(answerBytesMax);
  for await (const chunk of answer) kept.push(chunk as Buffer);
  const { 'content-type': contentType = '', 'content-encoding': encoding = '' } = answer.headers;
  const payload = readPayload(kept, { contentType, encoding, isWhole: true, bytesMax: answerBytesMax });
  return { status: answer.statusCode ?? 0, contentType, ms: performance.now() - begun, isWhole: true, ...payload };
}
