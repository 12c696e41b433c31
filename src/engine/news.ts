/** What one thread is told of a turn: a batch under construction. */
import { type Batch, type ErrorNews, type PromptNews, recordLen } from './messages.js';
import type { TokenLogprobs } from './request.js';

export class News {
  // Grown when a turn brings more than any before it.
  #records = new Int32Array(1024);
  #recordsLen = 0;
  #numRecords = 0;
  logprobs: [number, TokenLogprobs[]][] = [];
  pooled: [number, Float32Array][] = [];
  prompts: PromptNews[] = [];
  errors: ErrorNews[] = [];
  done: number[] = [];

  /** `ids[first …]`: the new ones. Returns the record's index. */
  record(handle: number, choice: number, finish: number, stopId: number, ids: Int32Array, first: number, numIds: number): number {
    const end = this.#recordsLen + recordLen + numIds;
    if (end > this.#records.length) {
      const grown = new Int32Array(2 * end);
      grown.set(this.#records);
      this.#records = grown;
    }
    const records = this.#records;
    let at = this.#recordsLen;
    records[at++] = handle;
    records[at++] = choice;
    records[at++] = numIds;
    records[at++] = finish;
    records[at++] = stopId;
    for (let j = 0; j < numIds; j++) records[at++] = ids[first + j]!;
    this.#recordsLen = end;
    return this.#numRecords++;
  }

  /** The batch; null: there are no news. */
  take(): Batch | null {
    const { logprobs, pooled, prompts, errors, done } = this;
    if (this.#numRecords === 0 && errors.length === 0 && done.length === 0) return null;
    const records = this.#records.slice(0, this.#recordsLen);
    this.#recordsLen = 0;
    this.#numRecords = 0;
    this.logprobs = [];
    this.pooled = [];
    this.prompts = [];
    this.errors = [];
    this.done = [];
    return { records, logprobs, pooled, prompts, errors, done };
  }
}
