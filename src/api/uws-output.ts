/**
 * What leaves through uWebSockets.js: replies and the socket's side of streams, so that it is known when the kernel has all of them. The
 * library holds what a slow client has not taken, says nothing about it after `res.end`, and drops it when the app is closed.
 */
import type { HttpResponse } from 'uWebSockets.js';
import type { StreamSink } from './sse.js';

/** What the library gathers in a cork (16 KiB) and more: a write of at most so much is held by it whole where the socket is full. */
const sliceBytes = 16 << 10;

/** Replies that are complete here and have not all left yet. */
export class Unsent {
  readonly #replies = new Set<HttpResponse>();
  #onNone: (() => void) | null = null;

  add(res: HttpResponse): void {
    this.#replies.add(res);
  }

  remove(res: HttpResponse): void {
    if (this.#replies.delete(res) && this.#replies.size === 0) this.#onNone?.();
  }

  /** Resolves when none is left, or after `msMax`. */
  none(msMax: number): Promise<void> {
    if (this.#replies.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onNone = resolve;
      setTimeout(resolve, msMax).unref();
    });
  }
}

/** Head and body in as few writes as the socket takes. `closes`: the connection ends with it. */
export function sendReply(
  res: HttpResponse,
  writeHead: () => void,
  body: string | Uint8Array,
  { closes, unsent }: { readonly closes: boolean; readonly unsent: Unsent },
): void {
  res.cork(() => {
    writeHead();
    const bytes = typeof body === 'string' && body.length > sliceBytes ? Buffer.from(body) : body;
    if (closes || typeof bytes === 'string' || bytes.length <= sliceBytes) {
      res.end(bytes, closes);
      return;
    }
    const [, done] = res.tryEnd(bytes, bytes.length);
    if (done) return;
    unsent.add(res);
    res.onWritable((offset) => {
      const [ok, isDone] = res.tryEnd(bytes.subarray(offset), bytes.length);
      if (isDone) unsent.remove(res);
      return ok;
    });
  });
}

const nothing = () => {};

/**
 * What is being written, and by whom. The library calls back inside `cork`, so one function serves all streams: a closure for every token would be
 * the larger part of a write, and one for every stream two more objects that each of its tokens reads from memory.
 */
let writing: UwsSink | null = null;
let writtenText = '';
const writeCorked = () => writing!.writeCorked(writtenText);

/** The socket's side of a stream. */
export class UwsSink implements StreamSink {
  readonly #res: HttpResponse;
  readonly #writeHead: () => void;
  readonly #onEnd: () => void;
  readonly #unsent: Unsent;
  #headSent = false;
  #took = true;
  /** Of a stream that has ended: what the socket has not been given. */
  #rest: Uint8Array | null = null;

  /** `writeHead` is called once, before the first text; `onEnd` when the last is about to leave. */
  constructor(res: HttpResponse, writeHead: () => void, onEnd: () => void, unsent: Unsent) {
    this.#res = res;
    this.#writeHead = writeHead;
    this.#onEnd = onEnd;
    this.#unsent = unsent;
  }

  #writeHeadOnce(): void {
    if (this.#headSent) return;
    this.#headSent = true;
    this.#writeHead();
  }

  write(text: string): boolean {
    writing = this;
    writtenText = text;
    this.#res.cork(writeCorked);
    writing = null;
    return this.#took;
  }

  warm(): number {
    return this.#took ? 1 : 0;
  }

  /** Only inside a cork. */
  writeCorked(text: string): void {
    this.#writeHeadOnce();
    this.#took = this.#res.write(text);
  }

  end(text: string): void {
    this.#onEnd();
    if (this.#took && text.length <= sliceBytes) {
      this.#res.cork(() => {
        this.#writeHeadOnce();
        this.#res.end(text);
      });
      return;
    }
    this.#res.cork(() => this.#writeHeadOnce());
    this.#rest = Buffer.from(text);
    this.#unsent.add(this.#res);
    this.#writeRest();
  }

  /**
   * In slices, the last byte for itself, and not in a cork, where every write seems taken: so what the library may still hold when the last
   * byte is taken is nothing.
   */
  #writeRest(): void {
    let rest = this.#rest!;
    let took = true;
    while (took && rest.length > 0) {
      const len = Math.min(sliceBytes, Math.max(1, rest.length - 1));
      took = this.#res.write(rest.subarray(0, len));
      rest = rest.subarray(len);
    }
    this.#rest = rest;
    if (!took) return;
    this.#unsent.remove(this.#res);
    this.#res.end();
  }

  close(): void {
    this.#res.close();
  }

  /** The socket takes more. False: the stream has ended, and what was left of it is written here. */
  takesMore(): boolean {
    if (this.#rest !== null) {
      this.#writeRest();
      return false;
    }
    this.#res.cork(nothing); // sends what the library holds, which would wait for the next event otherwise
    return true;
  }
}
