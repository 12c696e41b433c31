/**
 * SmolLM2-135M-Instruct, a real chat model, through the native core, against float32 goldens of 10 prompts and 64 tokens. In float32 every
 * id is the golden one. In bf16 and Q4_1 the golden ids are fed, and their log-probabilities stay near: `data/README.md`, "How close is
 * close", says how near and why no nearer. LOCKSTEP_SMOLLM2_GGUF, _F32 and _BF16 name the model's files.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type GoldenPrompt, readGolden, sharedData } from './golden.js';
import { type Output, type RankSetup, Ranks } from './ranks.js';

const { LOCKSTEP_SMOLLM2_GGUF: gguf, LOCKSTEP_SMOLLM2_F32: f32, LOCKSTEP_SMOLLM2_BF16: bf16 } = process.env;
const dims = { maxSeqLen: 256, maxRows: 10 };

const prompts = (): readonly GoldenPrompt[] => readGolden(join(sharedData ?? '', 'smollm2/golden-f32.json')).prompts;
const skipWithout = (path: string | undefined) =>
  (sharedData === null && '../shared is not here') || (!path && 'LOCKSTEP_SMOLLM2_* are not set');

async function withRanks(
  path: string,
  form: Pick<RankSetup, 'dtype' | 'kvCacheType'>,
  use: (ranks: Ranks) => Promise<void>,
): Promise<void> {
  const ranks = await Ranks.start({ path, ...form, mode: 'gather', worldSize: 2, dims });
  try {
    await use(ranks);
  } finally {
    await ranks.stop();
  }
}

for (const [form, path] of [
  ['Q4_1 GGUF, dequantised', gguf],
  ['f32 safetensors', f32],
] as const) {
  test(`float32 from ${form}: every greedy id is the golden one`, { skip: skipWithout(path) }, () =>
    withRanks(path as string, { dtype: 'float32' }, async (ranks) => {
      const golden = prompts();
      const outputs = await ranks.generate(
        golden.map((prompt) => prompt.prompt_ids),
        64,
      );
      golden.forEach((prompt, i) => {
        assert.deepEqual(
          outputs[i]?.map((output) => output.id),
          prompt.greedy_ids,
          prompt.id,
        );
      });
    }),
  );
}

/** What the model says of each golden id when all before it are the golden's. */
async function score(ranks: Ranks, prompt: GoldenPrompt): Promise<Output[]> {
  const tokens = [...prompt.prompt_ids, ...prompt.greedy_ids];
  ranks.setPrompt(0, tokens);
  ranks.setRow(0, {});
  const outputs = await ranks.step([{ row: 0, position: 0, count: tokens.length, sample: true, reset: true, promptLogprobs: true }]);
  return outputs.slice(prompt.prompt_ids.length - 1, -1);
}

for (const [form, path, errorMax, marginMax, kvCacheType] of [
  ['bf16 safetensors', bf16, 0.02, 0.2, 'bfloat16'],
  ['Q4_1 GGUF', gguf, 0.05, 0.35, 'bfloat16'],
  ['bf16 safetensors, KV cache in int8', bf16, 0.02, 0.2, 'int8'],
] as const) {
  test(`bfloat16 from ${form}: log-probabilities of the golden ids within ${errorMax} in the mean`, { skip: skipWithout(path) }, (t) =>
    withRanks(path as string, { dtype: 'bfloat16', kvCacheType }, async (ranks) => {
      const errors: number[] = [];
      const parted: string[] = [];
      for (const prompt of prompts()) {
        const outputs = await score(ranks, prompt);
        prompt.steps.forEach((step, i) => {
          const output = outputs[i] as Output;
          assert.equal(output.id, step.id);
          errors.push(Math.abs(output.logprob - step.logprob));
          if (output.rank !== 1 && step.margin > marginMax) parted.push(`${prompt.id} step ${i}, margin ${step.margin}`);
        });
      }
      const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      t.diagnostic(`mean error ${mean.toFixed(4)}, largest ${Math.max(...errors).toFixed(3)}, over ${errors.length} steps`);
      assert.equal(errors.length, 640);
      assert.deepEqual(parted, [], 'another id is likelier');
      assert.ok(mean <= errorMax, `mean error ${mean}`);
    }),
  );
}
