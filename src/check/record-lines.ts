/** The lines of a record file: an exchange -> a line without keys, and a file -> its exchanges. */
import { createReadStream } from 'node:fs';
import { startError } from '../errors.js';
import type { Exchange } from './exchange.js';
import { redact } from './redact.js';
import { scrubbed, withoutSecretFields } from './secrets.js';

export function lineOf(exchange: Exchange, secrets: readonly string[], redactText: boolean): string {
  return scrubbed(JSON.stringify(withoutSecretFields(redactText ? redact(exchange) : exchange)), secrets);
}

export interface Recording {
  readonly exchanges: readonly Exchange[];
  /** Lines that are no exchange. */
  readonly numBroken: number;
}

const lineBytesMax = 256 * 2 ** 20;
const newline = 10;

/** At most `exchangesMax`, the first. Throws LockstepError `start` where the file cannot be read. */
export async function readRecording(path: string, exchangesMax: number): Promise<Recording> {
  const exchanges: Exchange[] = [];
  let numBroken = 0;
  try {
    for await (const line of linesOf(path)) {
      const exchange = line === null ? null : exchangeOf(line);
      if (exchange !== null) exchanges.push(exchange);
      else if (line?.trim() !== '') numBroken++;
      if (exchanges.length === exchangesMax) break;
    }
  } catch (error) {
    throw startError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return { exchanges, numBroken };
}

/** null: a line that is longer than the bound. */
async function* linesOf(path: string): AsyncGenerator<string | null> {
  let parts: Buffer[] = [];
  let length = 0;
  const add = (part: Buffer) => {
    length += part.length;
    if (length <= lineBytesMax) parts.push(part);
    else parts = [];
  };
  const take = () => {
    const line = length > lineBytesMax ? null : Buffer.concat(parts).toString();
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      add(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    add(chunk.subarray(start));
  }
  if (length > 0) yield take();
}

function exchangeOf(line: string): Exchange | null {
  try {
    const value = JSON.parse(line) as Partial<Exchange> | null;
    const isRequest = typeof value?.method === 'string' && typeof value.path === 'string' && value.path.startsWith('/');
    const isAnswered = typeof value?.response === 'object' && (value.response === null || typeof value.response.status === 'number');
    return isRequest && isAnswered ? { ...(value as Exchange), headers: value.headers ?? {} } : null;
  } catch {
    return null;
  }
}
