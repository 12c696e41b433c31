/** A rank that cannot step: every request is told, nothing waits for ever, and no more are taken. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadAddon } from '../../src/addon/load.js';
import { EngineThread } from '../../src/engine/engine-thread.js';
import type { ChoiceEnd } from '../../src/engine/request.js';
import { LockstepError } from '../../src/errors.js';
import { loadModel } from '../../src/model/load.js';
import { RankGroup } from '../../src/parallel/rank-group.js';
import { packageRoot, promptOf, requestOf } from '../sameness/engine.js';

const scheduler = {
  maxNumSeqs: 4,
  enablePrefixCaching: true,
  chunkedPrefill: true,
  longPrefillThreshold: 0,
  policy: 'fcfs',
  watermark: 0,
  maxInFlight: 2,
} as const;

for (const [mode, worldSize] of [
  ['gather', 1],
  ['gather', 3],
  ['reduce', 2],
] as const) {
  test(`an aborted step on ${worldSize} ranks (${mode}) is an error for each request`, { timeout: 20_000 }, async () => {
    const model = await loadModel(join(packageRoot, 'models/guide'), { dtype: 'auto' });
    const sizes = { maxRows: 4, maxTokens: 64, maxSeqLen: 1024, blockSize: 16, numBlocks: 256 };
    const dims = { ...sizes, maxDrafts: 0, maxLogprobs: 5, worldSize, pooledLen: 0 };
    const ranks = new RankGroup(model, { dims, mode, threadsPerRank: 1, stepTimeoutMs: 5000, cache: null });
    const options = { scheduler, queueLenMax: 8, numOwners: 1, numPorts: 1, seed: 1, group: ranks.group };
    const thread = new EngineThread(ranks.buffers, options, (reason) => engine.fail(reason));
    const engine = thread.client;
    await ranks.ready;
    const faults: string[] = [];
    ranks.onFault((reason) => {
      faults.push(reason);
      engine.fail(reason);
    });
    engine.open();

    const ends: ChoiceEnd[] = [];
    let numTokens = 0;
    const startedMs = performance.now();
    const run = (seed: number) =>
      new Promise<void>((resolve) => {
        engine.submit(requestOf({ prompt: promptOf(20, seed, 1024), maxTokens: 900 }), {
          prompt: () => {},
          // The communicator is aborted under the ranks, as a rank that misses its deadline would do.
          tokens: () => {
            if (++numTokens === 20) loadAddon().abortGroup(ranks.group);
          },
          end: (end) => ends.push(end),
          closed: resolve,
        });
      });
    await Promise.all([run(1), run(2), run(3)]);
    assert.deepEqual(
      ends.map(({ finishReason }) => finishReason),
      ['error', 'error', 'error'],
    );
    assert.equal(faults.length, 1);
    assert.match(faults[0] ?? '', /rank \d: .+/);
    assert.equal(engine.state(), 'failed');
    assert.throws(
      () => engine.submit(requestOf({ prompt: [5], maxTokens: 1 }), { prompt() {}, tokens() {}, end() {}, closed() {} }),
      (error) => error instanceof LockstepError && error.code === 'not_ready',
    );
    await thread.stop();
    await ranks.stop();
    assert.ok(performance.now() - startedMs < 10_000, 'nobody waited for a deadline');
  });
}
