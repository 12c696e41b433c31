/**
 * Quantised weights on emulated GPUs, where they are kept in their own codes: near the CPU, which multiplies the same codes with other
 * activations, and with `--deterministic` (sums in rank order, and none by cuBLASLt) equal bits for a prompt alone and among others. stories260K is
 * quantised on load; its down projection, of rows of 172, stays bf16. The others' weights are random, and amplify what is rounded.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { emulated, withRanks } from './check-goldens.js';
import { fixtures, modelsIn, readGolden, sharedData } from './golden.js';
import type { RankSetup } from './ranks.js';

const steps = 4;
const deterministic = { ...emulated, gpu: { ...emulated.gpu, sums: 'peers' } } as const;

const folder = join(sharedData ?? fixtures, 'tiny-models-quantised');
const stories = join(fixtures, 'stories260K');
const models = [
  ...modelsIn(folder).map((name) => ({ name, path: join(folder, name), tolerance: 0.5 })),
  ...['int8', 'int4'].map((quantization) => ({ name: `stories260K with ${quantization}`, path: stories, quantization, tolerance: 0.1 })),
];

for (const { name, tolerance, ...model } of models) {
  test(`${name} on emulated GPUs`, async () => {
    const prompts = readGolden(join(model.path, 'golden.json')).prompts.map((prompt) => prompt.prompt_ids.slice(0, 40));
    const run = async (setup: Pick<RankSetup, 'emulated' | 'worldSize' | 'mode'>, of = prompts) => {
      const outputs = await withRanks({ ...model, ...setup, dtype: 'bfloat16' }, (ranks) => ranks.generate(of, steps));
      return outputs.map((of) => of.map(({ id, logprob, top }) => ({ id, logprob, top })));
    };
    const cpu = await run({ mode: 'gather', worldSize: 1 });
    for (const worldSize of [1, 2]) {
      const together = await run({ mode: 'reduce', worldSize, emulated: deterministic });
      for (const [i, prompt] of prompts.entries()) {
        const [first] = together[i] ?? [];
        const near = cpu[i]?.[0]?.top.find(([id]) => id === first?.id);
        assert.ok(near, `prompt ${i} on ${worldSize}: ${first?.id} is not among the CPU's best`);
        assert.ok(
          Math.abs(near[1] - (first?.logprob ?? 0)) < tolerance,
          `prompt ${i} on ${worldSize}: ${first?.logprob} and not ${near[1]}`,
        );
        if (worldSize === 1) assert.deepEqual(await run({ mode: 'reduce', worldSize, emulated: deterministic }, [prompt]), [together[i]]);
      }
    }
  });
}

/** A step of so many rows: its products are cuBLASLt's, which takes the weights as bf16. */
const libraryRows = 512;

test('stories260K with int8, dequantised for cuBLASLt', async () => {
  const count = 16;
  const prompts = readGolden(join(stories, 'golden.json')).prompts.filter(({ prompt_ids: ids }) => ids.length >= count);
  const entries = Array.from({ length: libraryRows / count }, (_, row) => ({ row, position: 0, count, sample: true, reset: true }));
  const firstIds = (gpus: typeof emulated | typeof deterministic) =>
    withRanks({ path: stories, quantization: 'int8', dtype: 'bfloat16', mode: 'reduce', worldSize: 1, emulated: gpus }, (ranks) => {
      for (const { row } of entries) ranks.setPrompt(row, prompts[row % prompts.length]!.prompt_ids.slice(0, count));
      return ranks.step(entries);
    });
  const own = await firstIds(deterministic);
  const dequantised = await firstIds(emulated);
  for (const [row, { id, logprob }] of dequantised.entries()) {
    const near = own[row]?.top.find(([other]) => other === id);
    assert.ok(near && Math.abs(near[1] - logprob) < 0.1, `row ${row}: ${id} ${logprob}`);
  }
  assert.notDeepEqual(dequantised, own, 'rounded weights give the bits of codes: cuBLASLt had no product');
});
