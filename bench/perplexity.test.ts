import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeEngine } from '../src/api/fake-engine.js';
import type { EngineClient } from '../src/engine/client.js';
import { LockstepError } from '../src/errors.js';
import { measurePerplexity, ratioOf, windowsOf } from './perplexity.js';

test('windows cover the text once, each with its beginning', () => {
  const tokens = Int32Array.from({ length: 10 }, (_, i) => i + 10);
  assert.deepEqual(
    windowsOf(tokens, 4, null).map((w) => Array.from(w)),
    [
      [10, 11, 12, 13],
      [14, 15, 16, 17],
      [18, 19],
    ],
  );
  assert.deepEqual(
    windowsOf(tokens, 4, 1).map((w) => Array.from(w)),
    [
      [1, 10, 11, 12],
      [1, 13, 14, 15],
      [1, 16, 17, 18],
      [1, 19],
    ],
  );
  assert.equal(windowsOf(tokens, 9, null).length, 1, 'a window of one token has nothing to score');
});

test('exp of the mean negative log-probability', async () => {
  /** Gives every token of a prompt the probability 1 / its id. */
  const engine: Pick<EngineClient, 'submit'> = {
    submit: ({ promptTokens }, events) => {
      const scored = Array.from(promptTokens.slice(1), (id) => ({ ...none, id, logprob: -Math.log(id) }));
      events.prompt({ cachedTokens: 0, queueMs: 0, promptLogprobs: scored });
      events.closed();
    },
  };
  const none = { rank: 1, topIds: new Int32Array(), topLogprobs: new Float32Array() };
  const { perplexity, logprobs } = await measurePerplexity(engine as EngineClient, [Int32Array.of(9, 2, 4), Int32Array.of(9, 8)]);
  assert.equal(logprobs.length, 3);
  assert.ok(Math.abs(perplexity - 4) < 1e-9, `${perplexity}`);
});

test('the ratio has the error of the differences', () => {
  const base = { perplexity: Math.E, logprobs: [-1, -2, 0, -1] };
  const worse = { perplexity: 0, logprobs: [-1.1, -2.1, -0.1, -1.1] };
  const found = ratioOf(worse, base);
  assert.ok(found && Math.abs(found.ratio - Math.exp(0.1)) < 1e-12 && found.error < 1e-12, 'equal differences have no error');
  const noisy = ratioOf({ perplexity: 0, logprobs: [-1.2, -1.8, 0, -1] }, base);
  assert.ok(noisy && Math.abs(noisy.ratio - 1) < 1e-12 && Math.abs(noisy.error - Math.sqrt((2 * 0.04) / 3 / 4)) < 1e-12);
  assert.equal(ratioOf({ perplexity: 0, logprobs: [-1] }, base), null);
});

test('a window that cannot be scored is an error', async () => {
  const engine = new FakeEngine({ stepMs: 1 });
  const failing = {
    ...engine,
    submit: (_request: unknown, events: Parameters<EngineClient['submit']>[1]) => {
      events.end({ choice: 0, finishReason: 'error', stopTokenId: null, error: new LockstepError('internal', 'broken') });
      events.closed();
    },
  } as unknown as EngineClient;
  await assert.rejects(measurePerplexity(failing, [Int32Array.of(1, 2)]), /window 0: broken/);
});
