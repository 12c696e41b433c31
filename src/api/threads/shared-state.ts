/** What must be one for all API threads and is numbers: in memory that all of them see. */
import { createSheet, type Sheet } from '../../metrics/series.js';
import { rateMemory } from '../door/rate-limit.js';

export interface SharedState {
  /** Metrics, a sheet for each thread. */
  readonly sheets: readonly Sheet[];
  /** Of `RateLimits`. */
  readonly rates: SharedArrayBuffer;
  /** [1] requests that are being answered. */
  readonly load: Int32Array;
  /** [1] bytes of bodies that are being read. */
  readonly bodies: Int32Array;
  /** Milliseconds since 1970 of the start; metrics count since then. */
  readonly startMs: number;
}

export function createSharedState(numThreads: number, numKeys: number): SharedState {
  const word = () => new Int32Array(new SharedArrayBuffer(4));
  return {
    sheets: Array.from({ length: numThreads }, createSheet),
    rates: rateMemory(numKeys),
    load: word(),
    bodies: word(),
    startMs: Date.now(),
  };
}
