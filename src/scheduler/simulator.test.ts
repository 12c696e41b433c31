import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc, seed } from '../../test/property.js';
import type { SequenceInput } from './sequence.js';
import { type SimulatedServer, Simulation } from './simulator.js';
import { expect, simulatedVocab } from './simulator-rank.js';
import { sequenceInput } from './test-inputs.js';

/** LOCKSTEP_SIMULATOR_OPERATIONS=1000000 for a longer run; a failure prints the seed that repeats it. */
const numOperations = Number(process.env['LOCKSTEP_SIMULATOR_OPERATIONS'] ?? 100_000);

const int = (min: number, max: number) => fc.integer({ min, max });
const often = (weight: number) => fc.integer({ min: 0, max: 99 }).map((n) => n < weight);

const server: fc.Arbitrary<SimulatedServer> = fc
  .record({
    maxRows: int(1, 7),
    sparedRows: int(0, 2),
    maxTokens: int(1, 24),
    maxSeqLen: int(4, 40),
    blockSize: int(1, 5),
    // Of what the longest sequence needs: from too little for it to enough for all.
    poolPercent: int(80, 400),
    enablePrefixCaching: often(75),
    chunkedPrefill: often(75),
    longPrefillThreshold: fc.constantFrom(0, 0, 1, 3, 8),
    policy: fc.constantFrom('fcfs' as const, 'priority' as const),
    watermark: fc.constantFrom(0, 0.01, 0.2),
    growthBlocks: fc.constantFrom(0, 0, 0, 2),
    maxInFlight: fc.constantFrom(1 as const, 2 as const, 2 as const),
    maxDrafts: fc.constantFrom(0, 1, 3, 6),
  })
  .map(({ maxRows, sparedRows, maxTokens, maxSeqLen, blockSize, poolPercent, maxDrafts, ...options }) => ({
    dims: {
      maxRows,
      maxSeqLen,
      blockSize,
      maxDrafts,
      numBlocks: Math.ceil((Math.ceil(maxSeqLen / blockSize) * poolPercent) / 100),
      maxTokens: options.chunkedPrefill ? maxTokens : Math.max(maxTokens, maxSeqLen),
    },
    options: {
      ...options,
      maxNumSeqs: Math.max(1, maxRows - sparedRows),
      ...(maxDrafts > 0 ? { speculation: { maxDrafts, lookupMin: 1, lookupMax: 3, isAdaptive: true } } : {}),
    },
  }));

const request = fc.record({
  kind: fc.constant('add' as const),
  // Prompts are cut from few texts, or go on from what an earlier sequence said, so that they share prefixes of every length.
  text: int(0, 2),
  length: int(1, 24),
  suffix: fc.array(int(0, simulatedVocab - 1), { maxLength: 3 }),
  follow: fc.option(int(0, 1000), { freq: 3 }),
  n: fc.constantFrom(1, 1, 1, 2, 3),
  salt: fc.constantFrom(null, null, null, 'a', 'b'),
  priority: int(-1, 2),
  maxTokens: fc.constantFrom(0, 1, 2, 3, 5, 8, 20, 60),
  minTokens: fc.constantFrom(0, 0, 1, 4),
  eos: fc.constantFrom([], [3], [3, 4]),
  stops: fc.constantFrom([], [], [7], [1, 9]),
  ignoreEos: often(20),
  promptLogprobs: often(10),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

const operation = fc.oneof(
  { weight: 12, arbitrary: request },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('abort' as const), pick: int(0, 1000) }) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('hold', 'let in', 'let in', 'let in', 'preempt', 'forget')
      .map((what) => ({ kind: 'control' as const, what })),
  },
  { weight: 28, arbitrary: fc.constant({ kind: 'schedule' as const }) },
  { weight: 24, arbitrary: fc.constant({ kind: 'collect' as const }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const text = (which: number, length: number) =>
  Array.from({ length }, (_, i) => (i * i * 7 + i * 3 + which * 5 + (i >> 2)) % simulatedVocab);

function inputs(request: Request, simulation: Simulation, maxSeqLen: number, firstKey: number): SequenceInput[] {
  const { text: which, length, suffix, follow, n, salt, eos, stops, promptLogprobs, ...rest } = request;
  const before = follow === null ? undefined : simulation.lives[follow % Math.max(1, simulation.lives.length)]?.expectation;
  const promptLen = Math.max(1, Math.min(before === undefined ? length : maxSeqLen, maxSeqLen - (length % 7)));
  const prompt = [...(before?.tokens ?? text(which, length)), ...suffix].slice(0, promptLen);
  const sampling = {
    n,
    temperature: firstKey / 7,
    logitBias: suffix.map((id) => [id, 1] as const),
    numLogprobs: 0,
    numPromptLogprobs: promptLogprobs ? 0 : null,
  };
  return Array.from({ length: n }, (_, choice) => {
    const seed = (BigInt(prompt.length) << 32n) | BigInt(firstKey + choice);
    return sequenceInput(firstKey + choice, prompt, {
      ...rest,
      sampling,
      choice,
      seed,
      eosTokenIds: eos,
      stopTokenIds: stops,
      cacheSalt: salt,
    });
  });
}

const variants = [1, 2].flatMap((maxInFlight) =>
  [false, true].flatMap((enablePrefixCaching) =>
    [false, true].flatMap((chunkedPrefill) =>
      [0, 4].map((maxDrafts) => ({ maxDrafts, options: { maxInFlight: maxInFlight as 1 | 2, enablePrefixCaching, chunkedPrefill } })),
    ),
  ),
);

function apply(simulation: Simulation, op: Operation, maxSeqLen: number): void {
  if (op.kind === 'schedule') simulation.schedule();
  else if (op.kind === 'collect') simulation.collect();
  else if (op.kind === 'control') simulation.control(op.what);
  else if (op.kind === 'abort') simulation.abort(op.pick % Math.max(1, simulation.nextKey));
  else for (const input of inputs(op, simulation, maxSeqLen, simulation.nextKey)) simulation.add({ ...input, key: simulation.nextKey });
}

test(`${numOperations} random operations: nothing lost, double or ownerless; every sequence says what it must and ends once`, (t) => {
  const opsPerRun = 400;
  let done = 0;
  const seen = new Map<string, number>();
  const property = fc.property(server, fc.array(operation, { maxLength: opsPerRun, size: 'max' }), (server, ops) => {
    const simulation = new Simulation(server);
    for (const op of ops) apply(simulation, op, server.dims.maxSeqLen);
    simulation.drain();
    for (const [what, count] of Object.entries(simulation.seen)) seen.set(what, (seen.get(what) ?? 0) + count);
    done += ops.length;
  });
  // As many runs as it takes, each batch of them with a seed of its own that a failure prints.
  for (let batch = 0; done < numOperations; batch++) fc.assert(property, { seed: seed + batch, numRuns: 25, includeErrorInReport: true });
  t.diagnostic(`${done} operations: ${JSON.stringify(Object.fromEntries(seen))}`);
  // Else the operations have drifted away from what is hard.
  for (const [what, count] of seen) assert.ok(count * 1000 > done, `${what}: only ${count} in ${done} operations`);
});

test('the same requests: equal outputs with and without async scheduling, caching, chunking and drafts', () => {
  const arrivals = operation.filter((op) => op.kind !== 'abort');
  const property = fc.property(server, fc.array(arrivals, { maxLength: 120, size: 'max' }), ({ dims, options }, ops) => {
    const { speculation: _, ...plain } = options;
    const outputs = variants.map((variant) => {
      const maxTokens = variant.options.chunkedPrefill ? dims.maxTokens : Math.max(dims.maxTokens, dims.maxSeqLen);
      const drafts =
        variant.maxDrafts > 0 ? { speculation: { maxDrafts: variant.maxDrafts, lookupMin: 1, lookupMax: 3, isAdaptive: true } } : {};
      const simulation = new Simulation({
        dims: { ...dims, maxTokens, maxDrafts: variant.maxDrafts },
        options: { ...plain, ...variant.options, ...drafts },
      });
      for (const op of ops) apply(simulation, op, dims.maxSeqLen);
      simulation.drain();
      return simulation.lives.map(({ end, ids }) => ({ end, ids }));
    });
    for (const other of outputs.slice(1)) assert.deepEqual(other, outputs[0]);
  });
  fc.assert(property, { numRuns: 20, includeErrorInReport: true });
});

test('what the simulation expects: ids that would end are masked up to minTokens, then the first of them ends', () => {
  const fields = { eosTokenIds: [3], stopTokenIds: [7], minTokens: 5, maxTokens: 500 };
  const input = sequenceInput(0, [1, 2], fields);
  const { tokens, finish } = expect(input, 1000);
  const outputs = tokens.slice(2);
  assert.equal(finish, 'stop');
  assert.ok(outputs.length > 5);
  assert.equal(
    outputs.findIndex((id) => id === 3 || id === 7),
    outputs.length - 1,
  );
  assert.equal(expect(sequenceInput(0, [1, 2], { ...fields, maxTokens: 3 }), 1000).finish, 'length');
});
