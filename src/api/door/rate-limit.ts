/**
 * How much a key may ask for in a minute: requests, counted as they come, and tokens, counted when they are known. The state of a limit is one
 * number, the time at which all of it is free again (the generic cell rate algorithm, ITU-T I.371), so that threads share it without a lock.
 */
import { LockstepError } from '../../errors.js';
import type { Exchange } from '../exchange.js';
import type { Caller } from './caller.js';
import type { ApiKey } from './keys.js';

const minuteNs = 60_000_000_000n;

class Allowance {
  readonly #words: BigInt64Array;
  readonly #at: number;
  readonly perMinute: number;
  readonly #unitNs: number;

  /** `words[at]`: when all of it is free again, nanoseconds of the process's monotonic clock. */
  constructor(words: BigInt64Array, at: number, perMinute: number) {
    this.#words = words;
    this.#at = at;
    this.perMinute = perMinute;
    this.#unitNs = Number(minuteNs) / perMinute;
  }

  /** Nanoseconds until all is free again. */
  usedNs(nowNs: bigint): number {
    return Math.max(0, Number(Atomics.load(this.#words, this.#at) - nowNs));
  }

  left(nowNs: bigint): number {
    return Math.max(0, Math.floor((Number(minuteNs) - this.usedNs(nowNs)) / this.#unitNs));
  }

  /** Until one more is free. */
  waitNs(nowNs: bigint): number {
    return Math.max(0, this.usedNs(nowNs) - Number(minuteNs) + this.#unitNs);
  }

  /** May go below what is left: tokens are counted after they were made. */
  take(count: number, nowNs: bigint): void {
    const more = BigInt(Math.round(count * this.#unitNs));
    for (;;) {
      const before = Atomics.load(this.#words, this.#at);
      const after = (before > nowNs ? before : nowNs) + more;
      if (Atomics.compareExchange(this.#words, this.#at, before, after) === before) return;
    }
  }
}

/** Of a key that says nothing of its own; null: no limit. */
export interface RateDefaults {
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
}

const kinds = ['requests', 'tokens'] as const;

/** Memory for the limits of `numKeys` keys, seen by all threads. */
export const rateMemory = (numKeys: number) => new SharedArrayBuffer(16 * Math.max(1, numKeys));

export class RateLimits {
  /** [owner][kind] */
  readonly #allowances: readonly (readonly (Allowance | null)[])[];

  /** Without keys all callers share one set of limits. */
  constructor(keys: readonly ApiKey[], defaults: RateDefaults, memory: SharedArrayBuffer) {
    const words = new BigInt64Array(memory);
    const owners = keys.length === 0 ? [{ requestsPerMinute: null, tokensPerMinute: null }] : keys;
    this.#allowances = owners.map((own, owner) => {
      const limits = [own.requestsPerMinute ?? defaults.requestsPerMinute, own.tokensPerMinute ?? defaults.tokensPerMinute];
      return limits.map((limit, kind) => (limit === null ? null : new Allowance(words, 2 * owner + kind, limit)));
    });
  }

  /** Counts a request, and tells its caller what is left in OpenAI's headers. Throws `rate_limited` where nothing is. */
  admit(exchange: Exchange, { owner }: Caller): void {
    const now = process.hrtime.bigint();
    const allowances = this.#allowances[owner]!;
    const spent = kinds.findIndex((_, kind) => allowances[kind]?.left(now) === 0);
    if (spent < 0) allowances[0]?.take(1, now);
    for (const [kind, allowance] of allowances.entries()) {
      if (allowance === null) continue;
      exchange.setHeader(`x-ratelimit-limit-${kinds[kind]}`, String(allowance.perMinute));
      exchange.setHeader(`x-ratelimit-remaining-${kinds[kind]}`, String(allowance.left(now)));
      exchange.setHeader(`x-ratelimit-reset-${kinds[kind]}`, duration(allowance.usedNs(now)));
    }
    if (spent < 0) return;
    const { perMinute } = allowances[spent]!;
    const waitNs = allowances[spent]!.waitNs(now);
    const message = `Rate limit reached: ${perMinute} ${kinds[spent]} per minute. Please try again in ${duration(waitNs)}.`;
    throw new LockstepError('rate_limited', message, { retryAfterSeconds: Math.max(1, Math.ceil(waitNs / 1e9)) });
  }

  /** Tokens that were read or made for a caller. */
  spend({ owner }: Caller, numTokens: number): void {
    this.#allowances[owner]![1]?.take(numTokens, process.hrtime.bigint());
  }
}

/** As OpenAI writes it: 1h2m3s, 7.5s, 120ms. */
export function duration(ns: number): string {
  const ms = Math.ceil(ns / 1e6);
  if (ms < 1000) return `${ms}ms`;
  const [hours, minutes, seconds] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, (ms % 60_000) / 1000];
  return `${hours > 0 ? `${hours}h` : ''}${ms >= 60_000 ? `${minutes}m` : ''}${seconds}s`;
}
