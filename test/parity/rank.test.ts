/** The native core against goldens and against itself: modes, ranks, threads, batches, chunks. Plans are written here, without a scheduler. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadAddon } from '../../src/addon/load.js';
import { loadModel } from '../../src/model/load.js';
import type { LoadedModel, WeightTensor } from '../../src/model/spec.js';
import { shardOf } from '../../src/parallel/sharding.js';
import { stepBuffers } from '../../src/step/buffers.js';
import { checkGoldens, shortFactors, tolerance, withRanks } from './check-goldens.js';
import { fixtures, modelsIn, readGolden, sharedData } from './golden.js';
import type { Output, Ranks, Sampling } from './ranks.js';

const stories = join(fixtures, 'stories260K');
const below = (folder: string) => modelsIn(folder).map((name) => join(folder, name));
for (const folder of below(join(sharedData ?? fixtures, 'tiny-models'))) {
  const lengths = folder.includes('longrope') ? [shortFactors, undefined] : [undefined];
  test(`goldens of ${folder.split('/').slice(-2).join('/')}, one rank and several`, async () => {
    for (const length of lengths) {
      const alone = await checkGoldens(folder, 'gather', 1, length);
      for (const worldSize of [2, 3, 4]) assert.deepEqual(await checkGoldens(folder, 'gather', worldSize, length), alone);
      for (const worldSize of [2, 3, 4, 8]) await checkGoldens(folder, 'reduce', worldSize, length);
    }
  });
}

const goldenPrompts = readGolden(join(stories, 'golden.json')).prompts.map((p) => p.prompt_ids);
const bits = (outputs: readonly Output[][]) => outputs.map((row) => row.map((o) => [o.id, o.logprob, o.rank, o.top]));
// Longer than a piece of context (256 positions), so that pieces are joined; and in a batch with short ones.
const long = Array.from({ length: 330 }, (_, i) => 3 + ((i * 37) % 500));
const prompts = [...goldenPrompts, long];
const samplings: readonly Sampling[] = [
  {},
  { temperature: 1, seed: 1 },
  { temperature: 0.8, topP: 0.9, seed: 2 },
  { temperature: 1.3, topK: 20, minP: 0.02, seed: 3, repetitionPenalty: 1.2, presencePenalty: 0.3, frequencyPenalty: 0.1 },
];

for (const dtype of ['float32', 'bfloat16'] as const) {
  test(`equal bits for any number of ranks and threads, alone or in a batch, whole or in chunks, in ${dtype}`, async () => {
    const steps = 12;
    const alone = await withRanks({ path: stories, dtype, mode: 'gather', worldSize: 1 }, async (ranks) => {
      const found: Output[][][] = [];
      for (const sampling of samplings) {
        const rows: Output[][] = [];
        for (const prompt of prompts) rows.push(...(await ranks.generate([prompt], steps, { sampling })));
        found.push(rows);
      }
      return found;
    });
    for (const [worldSize, threadsPerRank] of [
      [1, 1],
      [1, 3],
      [2, 1],
      [2, 2],
      [3, 1],
      [4, 1],
      [8, 1],
    ]) {
      await withRanks({ path: stories, dtype, mode: 'gather', worldSize, threadsPerRank }, async (ranks) => {
        for (let i = 0; i < samplings.length; i++) {
          for (const chunk of [512, 7]) {
            const batch = await ranks.generate(prompts, steps, { sampling: samplings[i], chunk });
            assert.deepEqual(
              bits(batch),
              bits(alone[i]),
              `${worldSize} ranks of ${threadsPerRank} threads, chunks of ${chunk}, sampling ${i}`,
            );
          }
        }
      });
    }
  });
}

test('a block that a token fills is read by another row in the same step', async () => {
  for (const dtype of ['float32', 'bfloat16'] as const) {
    await withRanks({ path: stories, dtype, mode: 'gather', worldSize: 1 }, async (ranks) => {
      const prompt = long.slice(0, 17);
      const [[whole]] = await ranks.generate([prompt], 1);
      const { blockTables } = ranks.buffers.rows;
      const perRow = ranks.buffers.layout.maxBlocksPerRow;
      for (const row of [1, 2]) ranks.setPrompt(row, prompt);
      blockTables[2 * perRow] = blockTables[perRow]!;
      await ranks.step([{ row: 1, position: 0, count: 15, sample: false, reset: true }]);
      // The reader comes first in the plan.
      const [shared] = await ranks.step([
        { row: 2, position: 16, count: 1, sample: true, reset: true },
        { row: 1, position: 15, count: 1, sample: false },
      ]);
      assert.deepEqual(bits([[{ ...shared, row: 0 }]]), bits([[whole]]));
    });
  }
});

test('reduce mode: every number of ranks samples the same ids', async () => {
  // With 64 most ranks have no head, and of the vocabulary's 16 blocks one rank in four has one.
  for (const worldSize of [2, 3, 4, 8, 64]) {
    await withRanks({ path: stories, dtype: 'float32', mode: 'reduce', worldSize }, async (ranks) => {
      for (const prompt of readGolden(join(stories, 'golden.json')).prompts.slice(0, worldSize > 8 ? 1 : undefined)) {
        const [outputs] = await ranks.generate([prompt.prompt_ids], prompt.greedy_ids.length, { chunk: 5 });
        assert.deepEqual(
          outputs.map((o) => o.id),
          prompt.greedy_ids,
        );
      }
    });
  }
});

test('prompt log-probabilities do not depend on chunks', async () => {
  const prompt = readGolden(join(stories, 'golden.json')).prompts[0];
  const tokens = [...prompt.prompt_ids, ...prompt.greedy_ids.slice(0, 40)];
  await withRanks({ path: stories, dtype: 'float32', mode: 'gather', worldSize: 2 }, async (ranks) => {
    ranks.setPrompt(0, tokens);
    ranks.setRow(0, {});
    const score = async (chunk: number) => {
      const outputs: Output[] = [];
      for (let at = 0; at < tokens.length; at += chunk) {
        const count = Math.min(chunk, tokens.length - at);
        outputs.push(
          ...(await ranks.step([
            { row: 0, position: at, count, sample: at + count === tokens.length, reset: at === 0, promptLogprobs: true },
          ])),
        );
      }
      return outputs;
    };
    const whole = await score(tokens.length);
    assert.deepEqual(await score(7), whole);
    assert.equal(whole.length, tokens.length);
    const scored = whole.slice(0, -1);
    assert.deepEqual(
      scored.map((o) => o.id),
      tokens.slice(1),
    );
    const errors = prompt.steps.slice(0, 40).map((step, i) => Math.abs(whole[prompt.prompt_ids.length - 1 + i].logprob - step.logprob));
    assert.ok(Math.max(...errors) < tolerance);
  });
});

test('weights that cannot be read are a text that names the tensor', async () => {
  const model = await loadModel(stories, { dtype: 'float32' });
  const sizes = { maxRows: 1, maxTokens: 16, maxSeqLen: 32, blockSize: 16, numBlocks: 2 };
  const dims = { ...sizes, maxDrafts: 0, maxLogprobs: 0, worldSize: 1, pooledLen: 0 };
  const buffers = stepBuffers(dims);
  const options = { dims, mode: 'gather', spec: model.spec, kvCacheType: 'float32', threadsPerRank: 2, stepTimeoutMs: 1000 } as const;
  const offsets = Float64Array.from(buffers.layout.placements.map((p) => p.byteOffset));
  const addon = loadAddon();
  const group = addon.createGroup(options, new Uint8Array(buffers.shared), offsets);
  const shard = shardOf(model.spec, 'gather', 0, 1);
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-rank-'));
  const short = join(folder, 'model.safetensors');
  copyFileSync(model.weights.files[0], short);
  truncateSync(short, 500_000);
  const { files, tensors } = model.weights;
  const changed = (name: string, change: (tensor: WeightTensor) => object) =>
    tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...change(tensor) } : tensor));
  const wrong: readonly [object, RegExp][] = [
    [{ files: [short], tensors }, /lies beyond the end of .*model\.safetensors \(500000 bytes\)/],
    [{ files: ['/nowhere/model.safetensors'], tensors }, /cannot open \/nowhere/],
    [{ files, tensors: tensors.filter((tensor) => tensor.name !== 'layers.1.down') }, /layers\.1\.down is missing/],
    [{ files, tensors: changed('layers.0.q', () => ({ rows: 32 })) }, /layers\.0\.q is \[32, 64\], but the model needs \[64, 64\]/],
    [{ files, tensors: changed('layers.2.up', (t) => ({ source: { ...t.source, firstRow: 1 } })) }, /layers\.2\.up is .* from row 1 on/],
    [{ files, tensors: changed('layers.2.up', (t) => ({ source: { ...t.source, type: 'f80' } })) }, /type must be one of f32/],
    [{ files, tensors: changed('layers.2.up', (t) => ({ source: { ...t.source, byteOffset: Number.NaN } })) }, /byteOffset must be/],
    [{ files }, /weights\.tensors must be an array/],
  ];
  try {
    for (const [weights, text] of wrong) {
      const rank = addon.createRank(group, 0);
      assert.match(rank.load(shard, weights as LoadedModel['weights']) ?? 'loaded', text);
      assert.equal(rank.step(1), 4, 'a step before the weights are there');
      rank.close();
    }
    const rank = addon.createRank(group, 0);
    assert.equal(rank.load(shard, model.weights), null);
    assert.ok(rank.weightBytes() >= 260_000 * 4);
    rank.close();
  } finally {
    addon.destroyGroup(group);
    rmSync(folder, { recursive: true });
  }
});

test('a plan that contradicts itself is a fault with a reason', async () => {
  const wrong: readonly [string, (ranks: Ranks) => void, RegExp][] = [
    ['row', (r) => (r.buffers.plans[1].rows[0] = 999), /row 999/],
    ['block', (r) => (r.buffers.rows.blockTables[0] = -5), /block -5/],
    ['token', (r) => (r.buffers.rows.tokens[0] = 1 << 30), /not in the vocabulary/],
    ['position', (r) => (r.buffers.plans[1].startPosition[0] = 100000), /length of row/],
    ['epoch', (r) => (r.buffers.plans[1].planHeader[0] = 77), /epoch 77/],
    ['slots', (r) => (r.buffers.plans[1].queryStart[1] = 50), /slots/],
    ['outputs', (r) => (r.buffers.plans[1].outputStart[1] = 9), /outputStart/],
    ['no reset', (r) => (r.buffers.plans[1].entryFlags[0] = 1), /no reset/],
  ];
  for (const [what, damage, text] of wrong) {
    await withRanks({ path: stories, dtype: 'float32', mode: 'gather', worldSize: 1 }, async (ranks) => {
      ranks.setPrompt(0, prompts[0]);
      ranks.plan([{ row: 0, position: 0, count: prompts[0].length, sample: true, reset: true }]);
      damage(ranks);
      await assert.rejects(ranks.stepAlone(0), text, what);
    });
  }
});

test('a rank that waits for one that never comes gives up, or is woken', async () => {
  const setup = { path: stories, dtype: 'float32', mode: 'gather', worldSize: 2 } as const;
  const plan = (ranks: Ranks) => {
    ranks.setPrompt(0, prompts[0]);
    ranks.plan([{ row: 0, position: 0, count: prompts[0].length, sample: true, reset: true }]);
  };
  await withRanks({ ...setup, stepTimeoutMs: 200 }, async (ranks) => {
    plan(ranks);
    await assert.rejects(ranks.stepAlone(0), /rank 1 made no progress for 200 ms/);
  });
  await withRanks(setup, async (ranks) => {
    plan(ranks);
    const waiting = ranks.stepAlone(1);
    setTimeout(() => ranks.abort(), 50);
    await assert.rejects(waiting, /stopped/);
  });
});
