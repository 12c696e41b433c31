import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LayerSpec, ModelSpec } from '../model/spec.js';
import { type Cut, cutsOf } from './cuts.js';

const layer = (intermediate: number, gated = true) => ({ mlp: { intermediate, gated, experts: null } }) as unknown as LayerSpec;

/** SmolLM2-135M's sizes, but for its layers. */
const modelOf = (layers: readonly LayerSpec[]) =>
  ({ dims: { hidden: 576, vocab: 49152, heads: 9, kvHeads: 3, headDim: 64 }, layers }) as unknown as ModelSpec;
const rangesOf = (cuts: readonly Cut[], part: string) => cuts.filter((cut) => cut.part === part).map(({ ranges }) => ranges);

test('reduce: heads by whole groups, each kind of layer by itself', () => {
  const cuts = cutsOf(modelOf([layer(1536), layer(1536), layer(64)]), 'reduce', 2);
  assert.deepEqual(rangesOf(cuts, 'query heads'), [
    [
      [0, 6],
      [6, 3],
    ],
  ]);
  assert.deepEqual(rangesOf(cuts, 'key and value heads'), [
    [
      [0, 2],
      [2, 1],
    ],
  ]);
  const mlp = cuts.filter(({ part }) => part === 'gate and up rows').map(({ layers, total, ranges }) => [layers, total, ranges]);
  assert.deepEqual(mlp, [
    [
      [0, 1],
      1536,
      [
        [0, 768],
        [768, 768],
      ],
    ],
    [
      [2, 2],
      64,
      [
        [0, 32],
        [32, 32],
      ],
    ],
  ]);
  assert.deepEqual(rangesOf(cuts, 'vocabulary'), [
    [
      [0, 24576],
      [24576, 24576],
    ],
  ]);
});

test('gather: blocks of 32 rows are dealt, q, k and v as one matrix', () => {
  const cuts = cutsOf(modelOf([layer(1536)]), 'gather', 2);
  // 18 + 6 + 6 blocks: 15 for each.
  assert.deepEqual(rangesOf(cuts, 'query rows'), [
    [
      [0, 480],
      [480, 96],
    ],
  ]);
  assert.deepEqual(rangesOf(cuts, 'key rows'), [
    [
      [0, 0],
      [0, 192],
    ],
  ]);
  assert.deepEqual(rangesOf(cuts, 'down rows'), [
    [
      [0, 288],
      [288, 288],
    ],
  ]);
});

test('the ranges of all ranks make the whole, for any number of ranks', () => {
  for (const mode of ['gather', 'reduce'] as const) {
    for (const worldSize of [1, 2, 3, 5, 8, 64]) {
      for (const { part, total, ranges } of cutsOf(modelOf([layer(1536), layer(100, false)]), mode, worldSize)) {
        assert.equal(ranges.length, worldSize);
        if (part === 'key and value heads') continue; // may be held by several
        assert.equal(
          ranges.reduce((sum, [, count]) => sum + count, 0),
          total,
          `${mode}, ${worldSize} ranks, ${part}`,
        );
      }
    }
  }
});
