/**
 * One HTTP/1.1 answer as it comes off a socket: its status, the bytes of its body, and when each piece of them came. What the bytes say is
 * read later: a client that shares the cores with the server it measures should do next to nothing for a token.
 */

/** A body that has come, and the reads that brought it. */
export interface TimedBody {
  readonly status: number;
  readonly bytes: Buffer;
  /** Length of the body after each read that brought some of it, and the time of that read, ms. */
  readonly readEnds: readonly number[];
  readonly readMs: readonly number[];
}

const firstBytes = 1 << 14;
const newline = 10;

export class AnswerReader {
  status = 0;
  /** The whole answer is here. */
  isComplete = false;
  /** The server will take another request on this connection. */
  keepsAlive = true;
  #framing: 'head' | 'chunked' | 'length' | 'until close' = 'head';
  #line = ''; // the start of a line whose end has not come
  #left = 0; // bytes of the chunk, or of a body of known length
  #isTrailer = false;
  #isChunked = false;
  #contentLen: number | null = null;
  #body = Buffer.allocUnsafe(firstBytes);
  #bodyLen = 0;
  readonly #readEnds: number[] = [];
  readonly #readMs: number[] = [];

  /** Takes what one read brought at `nowMs`. Throws on what is not HTTP. */
  push(bytes: Buffer, nowMs: number): void {
    const before = this.#bodyLen;
    let at = 0;
    while (at < bytes.length && !this.isComplete) {
      const isData = this.#framing === 'until close' || this.#left > 0;
      at = isData ? this.#takeData(bytes, at) : this.#takeLine(bytes, at);
    }
    if (this.#bodyLen === before) return;
    this.#readEnds.push(this.#bodyLen);
    this.#readMs.push(nowMs);
  }

  /** The connection has ended. False: in the middle of the answer. */
  end(): boolean {
    if (this.#framing === 'until close') this.isComplete = true;
    return this.isComplete;
  }

  body(): TimedBody {
    return { status: this.status, bytes: this.#body.subarray(0, this.#bodyLen), readEnds: this.#readEnds, readMs: this.#readMs };
  }

  #takeData(bytes: Buffer, at: number): number {
    const end = this.#framing === 'until close' ? bytes.length : Math.min(bytes.length, at + this.#left);
    const len = end - at;
    if (this.#bodyLen + len > this.#body.length) {
      const grown = Buffer.allocUnsafe(2 * (this.#bodyLen + len));
      this.#body.copy(grown, 0, 0, this.#bodyLen);
      this.#body = grown;
    }
    bytes.copy(this.#body, this.#bodyLen, at, end);
    this.#bodyLen += len;
    this.#left -= len;
    if (this.#framing === 'length' && this.#left === 0) this.isComplete = true;
    return end;
  }

  /** Lines are those of the head, and in a chunked body whatever is between chunks. */
  #takeLine(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(newline, at);
    this.#line += bytes.toString('latin1', at, found === -1 ? bytes.length : found);
    if (found === -1) return bytes.length;
    const line = this.#line.trimEnd();
    this.#line = '';
    if (this.#framing === 'head') this.#headLine(line);
    else if (this.#isTrailer) this.isComplete = line === '';
    else if (line !== '') this.#chunkSize(line); // empty: the end of the chunk before
    return found + 1;
  }

  #chunkSize(line: string): void {
    this.#left = Number.parseInt(line, 16);
    if (Number.isNaN(this.#left)) throw new Error(`the answer has no chunk size where one must be: '${line.slice(0, 40)}'`);
    this.#isTrailer = this.#left === 0;
  }

  #headLine(line: string): void {
    if (this.status === 0) {
      this.status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(line)?.[1] ?? 0);
      if (this.status === 0) throw new Error(`the answer is not HTTP/1.1: '${line.slice(0, 40)}'`);
    } else if (line !== '') {
      const [name, value] = splitHeader(line);
      if (name === 'transfer-encoding') this.#isChunked = value.endsWith('chunked');
      if (name === 'connection') this.keepsAlive = value !== 'close';
      if (name === 'content-length') this.#contentLen = Number(value);
    } else if (this.status < 200) {
      this.status = 0; // 100 Continue and the like: the answer follows
    } else {
      this.#framing = this.#isChunked ? 'chunked' : this.#contentLen === null ? 'until close' : 'length';
      if (this.#framing === 'length') this.#left = this.#contentLen ?? 0;
      this.isComplete = this.#framing === 'length' && this.#left === 0;
      this.keepsAlive &&= this.#framing !== 'until close';
    }
  }
}

function splitHeader(line: string): [name: string, value: string] {
  const at = line.indexOf(':');
  const value = line.slice(at + 1).trim();
  return [line.slice(0, at).toLowerCase(), value.toLowerCase()];
}
