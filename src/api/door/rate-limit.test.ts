import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../../errors.js';
import type { Exchange } from '../exchange.js';
import { plainKeys } from './keys.js';
import { duration, RateLimits, rateMemory } from './rate-limit.js';

const callers = [0, 1].map((owner) => ({ owner, name: null, share: null }));

/** Headers of one request of a caller; what it was refused with, under `refusal`. */
function admit(limits: RateLimits, owner: number): Record<string, string> & { refusal?: LockstepError } {
  const headers: Record<string, string> & { refusal?: LockstepError } = {};
  const exchange = {
    setHeader: (name: string, value: string) => {
      headers[name] = value;
    },
  } as Exchange;
  try {
    limits.admit(exchange, callers[owner]!);
  } catch (error) {
    assert.ok(error instanceof LockstepError);
    return { ...headers, refusal: error } as unknown as typeof headers;
  }
  return headers;
}

test('requests of a minute: each key has its own', () => {
  const limits = new RateLimits(plainKeys(['a', 'b']), { requestsPerMinute: 3, tokensPerMinute: null }, rateMemory(2));
  assert.deepEqual(
    [1, 2, 3].map(() => admit(limits, 0)['x-ratelimit-remaining-requests']),
    ['2', '1', '0'],
  );
  const refused = admit(limits, 0);
  assert.equal(refused.refusal?.code, 'rate_limited');
  assert.match(refused.refusal!.message, /^Rate limit reached: 3 requests per minute\. Please try again in (19|20)\.?\d*s\.$/);
  assert.equal(refused.refusal!.retryAfterSeconds, 20);
  assert.equal(refused['x-ratelimit-limit-requests'], '3');
  assert.equal(admit(limits, 1).refusal, undefined);
});

test('tokens are counted when they are known, and may leave a debt', () => {
  const limits = new RateLimits([], { requestsPerMinute: null, tokensPerMinute: 600 }, rateMemory(0));
  assert.equal(admit(limits, 0)['x-ratelimit-remaining-tokens'], '600');
  limits.spend(callers[0]!, 1200);
  const refused = admit(limits, 0);
  assert.equal(refused['x-ratelimit-remaining-tokens'], '0');
  assert.match(refused['x-ratelimit-reset-tokens']!, /^(2m0s|1m59\.\d+s)$/);
  assert.ok(Math.abs(refused.refusal!.retryAfterSeconds! - 61) <= 1);
});

test('threads share the count; what a key says of itself wins', () => {
  const memory = rateMemory(1);
  const keys = [{ ...plainKeys(['a'])[0]!, requestsPerMinute: 2 }];
  const [one, two] = [0, 1].map(() => new RateLimits(keys, { requestsPerMinute: 100, tokensPerMinute: null }, memory));
  assert.equal(admit(one!, 0).refusal, undefined);
  assert.equal(admit(two!, 0).refusal, undefined);
  assert.equal(admit(one!, 0).refusal?.code, 'rate_limited');
});

test("durations as in OpenAI's headers", () => {
  assert.deepEqual([0, 1.2e8, 1e9, 7.5e9, 360e9, 3723e9].map(duration), ['0ms', '120ms', '1s', '7.5s', '6m0s', '1h2m3s']);
});
