/** What the engine owes a request, with the bundled model: it ends once, frees what it held, and is told of a fault. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { LockstepError } from '../../src/errors.js';
import { ask, promptOf, requestOf, start } from './engine.js';

const prompt = promptOf(40, 3, 1024);

/** Counters are as of the engine's newest turn. */
async function untilIdle({ client }: OfflineEngine): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { running, waiting, kvCacheUsage } = client.counters();
    if (running === 0 && waiting === 0 && kvCacheUsage === 0) return;
    await delay(10);
  }
  assert.fail(`never idle: ${JSON.stringify(client.counters())}`);
}

/** What is asked of it must take tens of milliseconds: a turn of this thread may be late by some. */
async function untilRuns({ client }: OfflineEngine): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await turn()) {
    if (client.counters().running > 0) return;
  }
  assert.fail(`never seen to run: ${JSON.stringify(client.counters())}`);
}

describe('engine', () => {
  let engine: OfflineEngine;
  before(async () => {
    engine = await start('--max-num-seqs', '8', '--max-model-len', '512', '--max-num-queued-reqs', '16');
  });
  after(() => engine.stop());

  test('choices of one seed differ, and are the same again', async () => {
    const question = { prompt, maxTokens: 16, sampling: { n: 4, temperature: 1.2 } };
    const first = await ask(engine.client, question);
    const again = await ask(engine.client, question);
    assert.deepEqual(again.choices, first.choices);
    assert.ok(new Set(first.choices.map(({ ids }) => ids.join())).size > 1);
  });

  test('choices at temperature 0 are equal', async () => {
    const { choices } = await ask(engine.client, { prompt, maxTokens: 8, sampling: { n: 3 } });
    for (const { ids, end } of choices) {
      assert.deepEqual(ids, choices[0]?.ids);
      assert.equal(end?.finishReason, 'length');
    }
  });

  test('prompt log-probabilities: one for each token but the first, equal in chunks and beside choices', async () => {
    const question = { prompt, maxTokens: 2, sampling: { numPromptLogprobs: 2, n: 2 } };
    const { facts, choices } = await ask(engine.client, question);
    assert.deepEqual(
      facts?.promptLogprobs?.map(({ id }) => id),
      prompt.slice(1),
    );
    for (const { logprob, topIds, topLogprobs, rank } of facts?.promptLogprobs ?? []) {
      assert.equal(topIds.length, 2);
      assert.ok(logprob <= (topLogprobs[0] ?? -Infinity));
      assert.equal(rank === 1, logprob === topLogprobs[0]);
    }
    assert.equal(choices.length, 2);
  });

  test('log-probabilities of named tokens are those that the likeliest have', async () => {
    const asked = { prompt, maxTokens: 4, sampling: { numLogprobs: 5 } };
    const [best] = (await ask(engine.client, asked)).choices;
    const firstTop = best!.logprobBits[0]!.split(' ').slice(-5).map(Number);
    const logprobIds = [...firstTop].reverse();
    const [named] = (await ask(engine.client, { ...asked, sampling: { numLogprobs: 5, logprobIds } })).choices;
    assert.deepEqual(named!.ids, best!.ids);
    const parts = (bits: string) => {
      const [id, rank, own, ...rest] = bits.split(' ');
      return { id, rank, own, bits: rest.slice(0, 5), ids: rest.slice(5).map(Number) };
    };
    const [first, second] = [parts(best!.logprobBits[0]!), parts(named!.logprobBits[0]!)];
    assert.deepEqual([second.id, second.rank, second.own], [first.id, first.rank, first.own]);
    assert.deepEqual(second.ids, logprobIds);
    assert.deepEqual(second.bits, first.bits.reverse());
  });

  test('no tokens asked for: the prompt alone is scored', async () => {
    const { facts, choices } = await ask(engine.client, { prompt, maxTokens: 0, sampling: { numPromptLogprobs: 0 } });
    assert.equal(facts?.promptLogprobs?.length, prompt.length - 1);
    assert.deepEqual(choices[0]?.ids, []);
    assert.equal(choices[0]?.end?.finishReason, 'length');
  });

  test('a stop id ends a choice, and says so', async () => {
    const [free] = (await ask(engine.client, { prompt, maxTokens: 8 })).choices;
    const stopId = free?.ids[3] ?? -1;
    const [stopped] = (await ask(engine.client, { prompt, maxTokens: 8, stop: { stopTokenIds: [stopId] } })).choices;
    assert.deepEqual(stopped?.ids, free?.ids.slice(0, (free?.ids.indexOf(stopId) ?? 0) + 1));
    assert.deepEqual([stopped?.end?.finishReason, stopped?.end?.stopTokenId], ['stop', stopId]);
  });

  test('a request that slept, and lost its blocks meanwhile, has the same tokens', async () => {
    const question = { prompt, maxTokens: 400, sampling: { temperature: 0.8 } };
    const undisturbed = await ask(engine.client, question);
    const disturbed = ask(engine.client, question);
    await untilRuns(engine);
    await engine.client.control({ kind: 'sleep', mode: 'keep', forget: true });
    const { asleep, running, waiting, kvCacheUsage } = engine.client.counters();
    assert.deepEqual([asleep, running, waiting, kvCacheUsage], [1, 0, 1, 0]);
    const late = ask(engine.client, { prompt, maxTokens: 2 });
    await delay(20);
    assert.equal(engine.client.counters().running, 0);
    await engine.client.control({ kind: 'wake' });
    assert.deepEqual((await disturbed).choices, undisturbed.choices);
    assert.equal((await late).choices[0]?.ids.length, 2);
    assert.equal(engine.client.counters().asleep, 0);
  });

  test("falling asleep ends what runs with 'abort', all choices of it, or waits for it", async () => {
    const long = { prompt, maxTokens: 400, sampling: { n: 2, numPromptLogprobs: 0 } };
    const cutOff = ask(engine.client, long);
    const waited = ask(engine.client, { prompt, maxTokens: 2 });
    await engine.client.control({ kind: 'sleep', mode: 'abort', forget: false });
    assert.deepEqual(
      (await cutOff).choices.map(({ end }) => end?.finishReason),
      ['abort', 'abort'],
    );
    await waited;
    await engine.client.control({ kind: 'wake' });
    const finishing = ask(engine.client, { prompt, maxTokens: 400 });
    await untilRuns(engine);
    await engine.client.control({ kind: 'sleep', mode: 'wait', forget: false });
    assert.equal((await finishing).choices[0]?.end?.finishReason, 'length');
    await engine.client.control({ kind: 'wake' });
  });

  test('forgotten prefixes are not found again, and what is forgotten is cached anew', async () => {
    const again = async () => (await ask(engine.client, { prompt, maxTokens: 1 })).facts?.cachedTokens;
    await again();
    assert.equal(await again(), 32);
    await engine.client.control({ kind: 'forgetPrefixes', preempt: false });
    assert.equal(await again(), 0);
    assert.equal(await again(), 32);
  });

  test('an aborted request frees its blocks and hears nothing but closed', async () => {
    const request = requestOf({ prompt, maxTokens: 400 });
    let events = 0;
    const closed = new Promise<void>((resolve) => {
      engine.client.submit(request, {
        prompt: () => {},
        tokens: () => {
          events++;
          if (events === 3) engine.client.abort(request.id);
        },
        end: () => assert.fail('an aborted request has no end'),
        closed: resolve,
      });
    });
    await closed;
    await untilIdle(engine);
    assert.equal(events, 3);
  });

  test('a full queue refuses, and takes again when there is room', async () => {
    const settled = await Promise.allSettled(Array.from({ length: 60 }, () => ask(engine.client, { prompt, maxTokens: 60 })));
    const refusals = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    assert.ok(refusals.length > 0 && refusals.every((error) => error instanceof LockstepError && error.code === 'queue_full'));
    assert.ok(settled.length - refusals.length >= 16);
    await untilIdle(engine);
    await ask(engine.client, { prompt, maxTokens: 2 });
  });

  test('one that fills its part of the queue is refused, and others still come in', async () => {
    const ofOwner = (owner: number) => ({ ...requestOf({ prompt, maxTokens: 60 }), share: { owner, weight: 1 } });
    const question = { prompt, maxTokens: 60 };
    const flood = Array.from({ length: 60 }, () => ask(engine.client, question, ofOwner(0)));
    const others = [1, 2].map((owner) => ask(engine.client, question, ofOwner(owner)));
    const settled = await Promise.allSettled(flood);
    assert.ok(settled.some((result) => result.status === 'rejected' && /for this API key/.test(String(result.reason))));
    await Promise.all(others);
  });
});
