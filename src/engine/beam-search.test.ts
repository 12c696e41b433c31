import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/property.js';
import { LockstepError } from '../errors.js';
import { neutralSampling, type SamplingParams } from '../sampling/params.js';
import { BeamSearch } from './beam-search.js';
import type { RequestEvents } from './client.js';
import type { ChoiceEnd, ChoiceTokens, GenerationRequest, PromptFacts } from './request.js';

const vocab = 4;
const eos = 3;

/** Log-probabilities after some ids: any fixed function of them. */
function logprobsAfter(ids: ArrayLike<number>): number[] {
  let hash = 17;
  for (let i = 0; i < ids.length; i++) hash = (Math.imul(hash, 31) + ids[i]! * 7 + 3) | 0;
  const weights = Array.from({ length: vocab }, (_, id) => 1 + ((Math.imul(hash ^ (id * 0x9e3779b9), 0x85ebca6b) >>> 20) % 1000));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => Math.fround(Math.log(weight / sum)));
}

class TableEngine {
  readonly requests: GenerationRequest[] = [];
  readonly aborted: string[] = [];
  failAt = Number.POSITIVE_INFINITY;
  queueLenMax = Number.POSITIVE_INFINITY;

  submit(request: GenerationRequest, events: RequestEvents): void {
    if (this.requests.length >= this.queueLenMax) throw new LockstepError('queue_full', 'the queue is full', { retryAfterSeconds: 1 });
    this.requests.push(request);
    const isBroken = this.requests.length > this.failAt;
    queueMicrotask(() => {
      events.prompt({ cachedTokens: this.requests.length, queueMs: 0, promptLogprobs: null });
      if (isBroken) events.end({ choice: 0, finishReason: 'error', stopTokenId: null, error: new LockstepError('internal', 'broken') });
      else this.#answer(request, events);
      events.closed();
    });
  }

  #answer(request: GenerationRequest, events: RequestEvents): void {
    const logprobs = logprobsAfter(request.promptTokens);
    const order = [...logprobs.keys()].sort((a, b) => logprobs[b]! - logprobs[a]! || a - b);
    const count = request.sampling.numLogprobs!;
    const topIds = Int32Array.from({ length: count }, (_, i) => order[i] ?? -1);
    const topLogprobs = Float32Array.from({ length: count }, (_, i) => logprobs[order[i] ?? -1] ?? Number.NEGATIVE_INFINITY);
    const first = { id: order[0]!, logprob: logprobs[order[0]!]!, rank: 1, topIds, topLogprobs };
    events.tokens({ choice: 0, ids: [order[0]!], logprobs: [first] });
    events.end({ choice: 0, finishReason: 'length', stopTokenId: null, error: null });
  }

  abort(id: string): void {
    this.aborted.push(id);
  }

  finishChoice(): void {}
}

interface Found {
  readonly prompts: PromptFacts[];
  readonly tokens: ChoiceTokens[];
  readonly ends: ChoiceEnd[];
}

function requestOf(sampling: Partial<SamplingParams>, maxTokens: number, ignoreEos = false): GenerationRequest {
  const stop = { eosTokenIds: [eos], stopTokenIds: [], stopStrings: [], includeStopString: false, ignoreEos, minTokens: 0, maxTokens };
  const promptTokens = Int32Array.of(1, 2);
  return { id: 'r', promptTokens, sampling: { ...neutralSampling, ...sampling }, stop, priority: 0, cacheSalt: null } as GenerationRequest;
}

function search(engine: TableEngine, request: GenerationRequest, lengthPenalty = 1): Promise<Found> {
  const found: Found = { prompts: [], tokens: [], ends: [] };
  return new Promise((resolve) =>
    new BeamSearch(engine, { lengthPenalty }).submit(request, {
      prompt: (facts) => found.prompts.push(facts),
      tokens: (tokens) => found.tokens.push(tokens),
      end: (end) => found.ends.push(end),
      closed: () => resolve(found),
    }),
  );
}

/** Every output, best first. */
function everyOutput(maxTokens: number, lengthPenalty: number, ignoreEos: boolean): { ids: number[]; score: number }[] {
  const all: { ids: number[]; score: number }[] = [];
  const grow = (ids: number[], sum: number) => {
    const isComplete = !ignoreEos && ids.at(-1) === eos;
    if (isComplete || ids.length === maxTokens) all.push({ ids, score: sum / (2 + ids.length - (isComplete ? 1 : 0)) ** lengthPenalty });
    else for (const [id, logprob] of logprobsAfter([1, 2, ...ids]).entries()) grow([...ids, id], sum + logprob);
  };
  grow([], 0);
  return all.sort((a, b) => b.score - a.score);
}

test('with as many beams as outputs, the best outputs are found', async () => {
  for (const lengthPenalty of [0, 1, 2.5]) {
    for (const ignoreEos of [false, true]) {
      const { tokens, ends } = await search(new TableEngine(), requestOf({ n: 64 }, 3, ignoreEos), lengthPenalty);
      const best = everyOutput(3, lengthPenalty, ignoreEos);
      assert.deepEqual(
        tokens.slice(0, 20).map(({ ids }) => [...ids]),
        best.slice(0, 20).map(({ ids }) => ids),
      );
      const reasons = best.map(({ ids }) => (!ignoreEos && ids.at(-1) === eos ? 'stop' : 'length'));
      assert.deepEqual(
        ends.slice(0, 20).map(({ finishReason }) => finishReason),
        reasons.slice(0, 20),
      );
    }
  }
});

test('one beam is greedy, two beams are never worse', async () => {
  const scoreOf = (ids: readonly number[]) => {
    let sum = 0;
    for (let i = 0; i < ids.length; i++) sum += logprobsAfter([1, 2, ...ids.slice(0, i)])[ids[i]!]!;
    return sum;
  };
  const lengths = fc.integer({ min: 1, max: 8 });
  await fc.assert(
    fc.asyncProperty(lengths, async (maxTokens) => {
      const [one, two] = [
        await search(new TableEngine(), requestOf({}, maxTokens, true)),
        await search(new TableEngine(), requestOf({ n: 2 }, maxTokens, true)),
      ];
      const greedy: number[] = [];
      while (greedy.length < maxTokens) {
        const logprobs = logprobsAfter([1, 2, ...greedy]);
        greedy.push(logprobs.indexOf(Math.max(...logprobs)));
      }
      assert.deepEqual([...one.tokens[0]!.ids], greedy);
      assert.ok(scoreOf(two.tokens[0]!.ids) >= scoreOf(two.tokens[1]!.ids));
    }),
    { numRuns: 8 },
  );
});

test('the beams are asked for one token each, and log-probabilities come with those that are asked for', async () => {
  const engine = new TableEngine();
  const { tokens, prompts } = await search(engine, requestOf({ n: 2, numLogprobs: 1, numPromptLogprobs: 3 }, 3, true));
  assert.deepEqual(
    engine.requests.map(({ promptTokens }) => promptTokens.length),
    [2, 3, 3, 4, 4],
  );
  assert.ok(engine.requests.every(({ stop, sampling }) => stop.maxTokens === 1 && sampling.numLogprobs === 4 && sampling.n === 1));
  assert.deepEqual(
    engine.requests.map(({ sampling }) => sampling.numPromptLogprobs),
    [3, null, null, null, null],
  );
  assert.equal(prompts.length, 1);
  for (const { ids, logprobs } of tokens) {
    assert.deepEqual(
      logprobs!.map(({ id }) => id),
      [...ids],
    );
    assert.ok(logprobs!.every(({ topIds }) => topIds.length === 1));
  }
});

test('an engine that fails, is full, or is told to stop', async () => {
  const broken = new TableEngine();
  broken.failAt = 2;
  assert.deepEqual(
    (await search(broken, requestOf({ n: 2 }, 5))).ends.map(({ error }) => error?.message),
    ['broken', 'broken'],
  );
  const full = new TableEngine();
  full.queueLenMax = 2;
  const { ends } = await search(full, requestOf({ n: 2 }, 5));
  assert.deepEqual(
    ends.map(({ error }) => [error?.message, error?.code]),
    [
      ['the queue is full', 'queue_full'],
      ['the queue is full', 'queue_full'],
    ],
  );
  assert.deepEqual(full.aborted.length, 1, 'what was already submitted of the step is taken back');
  full.queueLenMax = 0;
  await assert.rejects(search(full, requestOf({}, 1)), /the queue is full/);
  const engine = new TableEngine();
  const beams = new BeamSearch(engine, { lengthPenalty: 1 });
  let numClosed = 0;
  const nothing = () => assert.fail('nothing follows an abort but its end');
  beams.submit(requestOf({ n: 2 }, 5), { prompt: nothing, tokens: nothing, end: nothing, closed: () => numClosed++ });
  beams.abort('r');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([numClosed, engine.aborted.length, engine.requests.length], [1, 1, 1]);
});
