/**
 * One stream of server-sent events: joins what a step wrote to one connection into one write, and bounds what waits for a slow reader.
 * The events' text is the routes'; the socket is the exchange's.
 *
 * Most of an event's cost is the kernel's send(), so fewer writes is what counts: what a step says to one connection at a stretch leaves
 * together, when some other connections have text too or, in a microtask, when the engine's batch was handed out.
 */

/** A socket's side of a stream. */
export interface StreamSink {
  /** False: the text was taken, but nothing more should be written until `EventStream.drained`. */
  write(text: string): boolean;
  /** Reads what a write will read: see the engine's `RequestEvents`. */
  warm?(): number;
  end(text: string): void;
  /** Drops the connection. */
  close(): void;
}

/** An event with a name, for the APIs whose events have one. `data`: JSON. */
export const namedEvent = (name: string, data: string) => `event: ${name}\ndata: ${data}\n\n`;

/** What all streams of slow readers may hold together: one alone that stalls for a minute, or thousands, a few seconds of each. */
export const streamBufferBytesDefault = 256 << 20;

const pingComment = ': ping\n\n';

/** So many streams are written before the next ones are told: what a stream's write reads is still in the cache from what made its text. */
const pendingMax = 16;

/** Streams of this thread whose socket takes nothing now. They share what may wait, so that one alone is not cut off early. */
let numBlocked = 0;

/** Streams of this thread with text that has not left. */
let pending: EventStream[] = [];

function flushPending(): void {
  const streams = pending;
  pending = [];
  for (const stream of streams) stream.flush();
}

export class EventStream {
  readonly #sink: StreamSink;
  readonly #bufferMax: number;
  #text = '';
  #isPending = false;
  /** Something was sent since the last look. */
  #isBusy = true;
  #blocked = false;
  #ending = false;
  #done = false;

  constructor(sink: StreamSink, bufferMax: number) {
    this.#sink = sink;
    this.#bufferMax = bufferMax;
  }

  /** Whole events, each ending in a blank line. Ignored once the stream is over. */
  send(events: string): void {
    if (this.#done || this.#ending) return;
    this.#isBusy = true;
    this.#text += events;
    if (this.#blocked && this.#text.length * numBlocked > this.#bufferMax) {
      this.abandon();
      this.#sink.close();
      return;
    }
    this.#schedule();
  }

  warm(): number {
    return this.#text.length + (this.#sink.warm?.() ?? 0);
  }

  /** A comment, which clients skip, if nothing was sent since the last call: proxies close connections on which nothing comes. */
  ping(): void {
    const isBusy = this.#isBusy || this.#blocked;
    if (!isBusy) this.send(pingComment);
    this.#isBusy = false;
  }

  /** The last events; the reply is complete once they have left. */
  end(events: string): void {
    if (this.#done || this.#ending) return;
    this.#text += events;
    this.#ending = true;
    this.#schedule();
  }

  /** The exchange: the socket takes more. */
  drained(): void {
    this.#setBlocked(false);
    this.flush();
  }

  /** The exchange: the client went away. */
  abandon(): void {
    this.#setBlocked(false);
    this.#done = true;
    this.#text = '';
  }

  #setBlocked(blocked: boolean): void {
    if (blocked !== this.#blocked) numBlocked += blocked ? 1 : -1;
    this.#blocked = blocked;
  }

  #schedule(): void {
    if (this.#isPending || this.#blocked) return;
    this.#isPending = true;
    if (pending.length === pendingMax) flushPending();
    if (pending.push(this) === 1) queueMicrotask(flushPending);
  }

  /** Writes what waits, as far as the socket takes it. */
  flush(): void {
    this.#isPending = false;
    if (this.#done || this.#blocked) return;
    const text = this.#text;
    this.#text = '';
    if (this.#ending) {
      this.#done = true;
      this.#sink.end(text);
    } else if (text !== '') {
      this.#setBlocked(!this.#sink.write(text));
    }
  }
}
