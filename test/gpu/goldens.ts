/** Whole models against their goldens: the tiny ones in float32, every log-probability; stories260K in bfloat16, as near as that is. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { GpuOptions } from '../../src/addon/binding.js';
import { addonPath } from '../../src/addon/load.js';
import { checkGoldens, withRanks } from '../parity/check-goldens.js';
import { fixtures, modelsIn, readGolden } from '../parity/golden.js';
import type { RankSetup } from '../parity/ranks.js';
import { check } from './line.js';

export const tinyModels = join(fixtures, 'tiny-models');
export const stories = join(fixtures, 'stories260K');

/** Of a log-probability in bfloat16, over all steps of a prompt; the checkpoint's own rounding is the most of it. */
const meanErrorMax = 0.02;
/** Beside a second-best id that is nearer than this, bfloat16 may take that. */
const marginMin = 0.15;

export function onGpus(options: Partial<GpuOptions> = {}): Pick<RankSetup, 'mode' | 'emulated'> {
  const gpu: GpuOptions = { nccl: '', cublasLt: '', roots: [], sums: 'peers', records: true, oneDevice: true, ...options };
  return { mode: 'reduce', emulated: { addon: addonPath(), gpu } };
}

/** Of an emulated device; a real one makes all. */
export const mostOf = (small: boolean) => (small ? { prompts: 1, ids: 3 } : { prompts: Infinity, ids: Infinity });

export async function goldens(small: boolean): Promise<void> {
  for (const name of modelsIn(tinyModels)) {
    await check(`goldens of ${name}, float32`, async () => {
      const prompts = await checkGoldens(join(tinyModels, name), onGpus(), 1, undefined, mostOf(small));
      return `${prompts.reduce((sum, outputs) => sum + outputs.length, 0)} ids and the log-probabilities of all that might have come`;
    });
  }
  await check('goldens of stories260K, bfloat16', () => nearGoldens(small));
}

/** Until an id differs, which only one may that is nearly as likely. */
async function nearGoldens(small: boolean): Promise<string> {
  let worst = 0;
  let compared = 0;
  await withRanks({ path: stories, dtype: 'bfloat16', ...onGpus(), worldSize: 1 }, async (ranks) => {
    const { prompts, ids } = mostOf(small);
    for (const prompt of readGolden(join(stories, 'golden.json')).prompts.slice(0, prompts)) {
      const expected = prompt.greedy_ids.slice(0, ids);
      const [outputs] = await ranks.generate([prompt.prompt_ids], expected.length);
      const differs = outputs!.findIndex(({ id }, i) => id !== expected[i]);
      const count = differs === -1 ? expected.length : differs;
      if (differs !== -1)
        assert.ok(prompt.steps[differs]!.margin < marginMin, `${prompt.id} step ${differs}: ${outputs![differs]!.id}, by no small margin`);
      const errors = prompt.steps.slice(0, count).map((step, i) => Math.abs(step.logprob - outputs![i]!.logprob));
      const mean = errors.reduce((a, b) => a + b, 0) / Math.max(count, 1);
      assert.ok(mean <= meanErrorMax, `${prompt.id}: log-probabilities are off by ${mean} on average`);
      worst = Math.max(worst, mean);
      compared += count;
    }
  });
  assert.ok(compared > 0, 'nothing was compared');
  return `${compared} ids; a prompt's log-probabilities are off by at most ${worst.toFixed(4)} on average`;
}
