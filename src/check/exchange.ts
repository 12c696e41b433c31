/** A request and its answer, as a line of a record file has them. */
import { brotliDecompressSync, constants, gunzipSync, inflateSync } from 'node:zlib';
import { EventStream } from '../event-stream.js';

/** What a body holds: one of these. None of them: it was empty. */
export interface Payload {
  /** JSON. */
  readonly body?: unknown;
  /** Text that is no JSON. */
  readonly text?: string;
  /** A stream of events. */
  readonly events?: readonly RecordedEvent[];
  /** Nothing of it is kept, since it was longer than the bound, did not come whole, or is no text: its bytes. */
  readonly bytesLeftOut?: number;
}

export interface RecordedEvent {
  /** Of the `event:` line. */
  readonly name?: string;
  /** JSON, or the text where it is none, as `[DONE]`. */
  readonly data: unknown;
}

export interface Answer extends Payload {
  readonly status: number;
  readonly contentType: string;
  /** From the request to the end of the answer. */
  readonly ms: number;
  /** False: the server, the client or a signal ended it before. */
  readonly isWhole: boolean;
}

export interface Exchange extends Payload {
  /** When the request came, ISO 8601. */
  readonly time: string;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** null: none came. */
  readonly response: Answer | null;
}

/** Bytes of a body as they pass; those of one that is longer than `bytesMax` are let go. */
export class KeptBytes {
  length = 0;
  private chunks: Buffer[] = [];

  constructor(private readonly bytesMax: number) {}

  push(chunk: Buffer): void {
    this.length += chunk.length;
    if (this.length <= this.bytesMax) this.chunks.push(chunk);
    else this.chunks = [];
  }

  /** null: too long. */
  bytes(): Buffer | null {
    return this.length > this.bytesMax ? null : Buffer.concat(this.chunks);
  }
}

export interface BodyForm {
  readonly contentType: string;
  /** The Content-Encoding, '' for none. */
  readonly encoding: string;
  /** False: this is the beginning of it. */
  readonly isWhole: boolean;
  readonly bytesMax: number;
}

export function readPayload(kept: KeptBytes, form: BodyForm): Payload {
  if (kept.length === 0) return {};
  const leftOut: Payload = { bytesLeftOut: kept.length };
  const bytes = kept.bytes();
  if (bytes === null) return leftOut;
  try {
    const plain = decoded(bytes, form);
    if (form.contentType.startsWith('text/event-stream')) return { events: readEvents(plain) };
    const text = new TextDecoder('utf-8', { fatal: true }).decode(plain);
    const value = parsed(text);
    return value === undefined ? { text } : { body: value };
  } catch {
    return leftOut; // no text, or not in the encoding that its header says
  }
}

/** The bound holds for what comes out too. */
function decoded(bytes: Buffer, { encoding, isWhole, bytesMax: maxOutputLength }: BodyForm): Buffer {
  // Of a body that was cut, what can be read is read.
  const inflate = { maxOutputLength, ...(isWhole ? {} : { finishFlush: constants.Z_SYNC_FLUSH }) };
  const brotli = { maxOutputLength, ...(isWhole ? {} : { finishFlush: constants.BROTLI_OPERATION_FLUSH }) };
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return bytes;
    case 'gzip':
      return gunzipSync(bytes, inflate);
    case 'deflate':
      return inflateSync(bytes, inflate);
    case 'br':
      return brotliDecompressSync(bytes, brotli);
    default:
      throw new Error(`the encoding ${encoding} is not known`);
  }
}

function readEvents(bytes: Buffer): RecordedEvent[] {
  return new EventStream().pushEvents(bytes).map(({ name, data }) => {
    const value = parsed(data);
    return { ...(name === null ? {} : { name }), data: value === undefined ? data : value };
  });
}

/** undefined: no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * The address of `path` at a server; null: it is no path. The base's own path stands before, but once: both `http://host` and
 * `http://host/v1` are base URLs.
 */
export function urlAt(base: URL, path: string): URL | null {
  if (!path.startsWith('/')) return null; // '@other' behind an origin would be another host
  const prefix = base.pathname.replace(/\/+$/, '');
  const isBelow = prefix === '' || path === prefix || path.startsWith(`${prefix}/`);
  const url = `${base.origin}${isBelow ? '' : prefix}${path}`;
  return URL.canParse(url) ? new URL(url) : null;
}
