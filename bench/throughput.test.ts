import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineClient, RequestEvents } from '../src/engine/client.js';
import type { GenerationRequest } from '../src/engine/request.js';
import { LockstepError } from '../src/errors.js';
import { measureThroughput } from './throughput.js';

/** Gives every request its tokens one by one, a turn of the event loop each. */
class CountingEngine implements EngineClient {
  numRunning = 0;
  numRunningMax = 0;
  readonly failing: string | null;
  constructor(failing: string | null = null) {
    this.failing = failing;
  }
  submit({ id, sampling, stop }: GenerationRequest, events: RequestEvents): void {
    this.numRunningMax = Math.max(this.numRunningMax, ++this.numRunning);
    const isFailing = id === this.failing;
    let left = stop.maxTokens;
    const turn = () => {
      if (left-- > 0 && !isFailing) {
        for (let choice = 0; choice < sampling.n; choice++) events.tokens({ choice, ids: [7], logprobs: null });
        return void setImmediate(turn);
      }
      this.numRunning--;
      events.end({
        choice: 0,
        finishReason: isFailing ? 'error' : 'length',
        stopTokenId: null,
        error: isFailing ? new LockstepError('internal', 'broken') : null,
      });
      events.closed();
    };
    setImmediate(turn);
  }
  abort(): void {}
  finishChoice(): void {}
  async control(): Promise<void> {}
  waiting(): never {
    throw new Error('not asked for');
  }
  counters(): never {
    throw new Error('not asked for');
  }
  state() {
    return 'ready' as const;
  }
}

const prompts = Array.from({ length: 10 }, (_, i) => ({ prompt: [1, 2, 3], outputLen: 1 + (i % 2), promptLen: 3 }));
const settings = { n: 2, temperature: 1, seed: 0, maxInFlight: 4 };

test('counts every token and keeps to the bound of requests in flight', async () => {
  const engine = new CountingEngine();
  const figures = await measureThroughput(engine, prompts, settings);
  assert.equal(figures.numRequests, 10);
  assert.equal(figures.promptTokens, 30);
  assert.equal(figures.outputTokens, 30); // (5 * 1 + 5 * 2) tokens of 2 choices
  assert.equal(figures.tokensPerS, 60 / figures.durationS);
  assert.equal(engine.numRunningMax, 4);
});

test('a request that fails, fails the run by name', async () => {
  await assert.rejects(measureThroughput(new CountingEngine('bench-3'), prompts, settings), /request bench-3: broken/);
});
