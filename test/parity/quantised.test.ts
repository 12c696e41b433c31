/**
 * Quantised safetensors checkpoints against their goldens, which come from float64 on the exactly dequantised weights: in float32 every
 * id and log-probability, on any number of ranks in both modes. In bfloat16 random weights amplify rounding (`data/README.md`): there,
 * that codes stay codes (the formats), that ranks do not change a bit, and that the best id is among the golden's best five.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel } from '../../src/model/load.js';
import { checkGoldens, withRanks } from './check-goldens.js';
import { fixtures, modelsIn, readGolden, sharedData } from './golden.js';

const folder = join(sharedData ?? fixtures, 'tiny-models-quantised');
const models = modelsIn(folder);

/** What the linear layers are kept as with bfloat16. */
const keptAs: Readonly<Record<string, string>> = {
  'gptq-int4-g32': 'q4_0',
  'gptq-int4-g32-desc_act': 'bf16',
  'awq-int4-g32': 'q4_1',
  'compressed-tensors-w4a16-g32': 'q4_0',
  'compressed-tensors-fp8-dynamic': 'q8_0',
  'fp8-block128': 'q8_0',
};

test('there are quantised models to test', () => assert.ok(models.length >= 2));

for (const name of models) {
  const path = join(folder, name);
  test(`goldens of ${name} in float32, both modes, 1 to 4 ranks`, async () => {
    for (const mode of ['gather', 'reduce'] as const) {
      for (const worldSize of [1, 2, 3, 4]) await checkGoldens(path, mode, worldSize);
    }
  });

  test(`${name} in bfloat16: kept as ${keptAs[name]}, and equal bits on 1 to 4 ranks`, async () => {
    const { weights, notes } = await loadModel(path, { dtype: 'bfloat16' });
    const formats = new Set(weights.tensors.filter((t) => t.scaling !== null).map((t) => t.format));
    assert.deepEqual([...formats], [keptAs[name]]);
    assert.match(notes.join('\n'), new RegExp(`14 matrices as ${keptAs[name]}`));
    const [prompt] = readGolden(join(path, 'golden.json')).prompts;
    assert.ok(prompt);
    const run = (mode: 'gather' | 'reduce', worldSize: number) =>
      withRanks({ path, dtype: 'bfloat16', mode, worldSize }, async (ranks) => (await ranks.generate([prompt.prompt_ids], 8))[0]);
    const alone = await run('gather', 1);
    const best = prompt.steps[0]?.top.map(([id]) => id);
    assert.ok(best?.includes(alone?.[0]?.id ?? -1), `${alone?.[0]?.id} is not among ${best}`);
    for (const worldSize of [2, 3, 4]) {
      assert.deepEqual(await run('gather', worldSize), alone);
      const [first] = (await run('reduce', worldSize)) ?? [];
      assert.ok(best?.includes(first?.id ?? -1), `reduce over ${worldSize}: ${first?.id} is not among ${best}`);
    }
  });
}
