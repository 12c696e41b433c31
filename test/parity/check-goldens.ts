/** A model's goldens through the native core, in float32: every id and log-probability. */
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { addonPath } from '../../src/addon/load.js';
import { lastLogits, readGolden } from './golden.js';
import { type Output, type RankSetup, Ranks } from './ranks.js';

/** Of a log-probability. */
export const tolerance = 1e-3;
/** Longrope chooses its factors once, by the longest length: of the golden's prompts two want 48 and one wants more. */
export const shortFactors = 48;

/** The addon of `buildEmulatedAddon`, and the libnccl that stands beside it. */
const builtFolder = dirname(addonPath());
export const emulated = {
  addon: join(builtFolder, 'lockstep_emulated.node'),
  gpu: {
    nccl: join(builtFolder, 'liblockstep_fake_nccl.so'),
    cublasLt: join(builtFolder, 'liblockstep_fake_cublaslt.so'),
    roots: [],
    sums: 'quickest',
    records: true,
    oneDevice: false,
  },
} as const;

export async function withRanks<T>(setup: RankSetup, use: (ranks: Ranks) => Promise<T>): Promise<T> {
  const ranks = await Ranks.start(setup);
  try {
    return await use(ranks);
  } finally {
    await ranks.stop();
  }
}

/** Log-probabilities of all ids, from their logits. */
function logSoftmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b));
  const logSum = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
  return Float64Array.from(logits, (logit) => logit - logSum);
}

type Where = Pick<RankSetup, 'mode' | 'emulated'>;

/** Greedy ids and log-probabilities of every prompt equal the golden's; after the prompt those of the whole vocabulary. The outputs, by prompt. */
export async function checkGoldens(
  folder: string,
  mode: 'gather' | 'reduce' | 'emulated GPUs' | Where,
  worldSize: number,
  maxModelLen?: number,
  /** No more prompts, and ids of each; absent: all. */
  most: { readonly prompts: number; readonly ids: number } = { prompts: Infinity, ids: Infinity },
): Promise<(readonly Output[])[]> {
  const all: (readonly Output[])[] = [];
  const golden = readGolden(join(folder, 'golden.json'));
  const maxLogprobs = lastLogits(golden.prompts[0]).length;
  const where: Where = typeof mode === 'object' ? mode : mode === 'emulated GPUs' ? { mode: 'reduce', emulated } : { mode };
  const name = typeof mode === 'object' ? 'GPUs' : mode;
  const setup = {
    path: folder,
    dtype: 'float32',
    ...where,
    worldSize,
    dims: { maxLogprobs },
    ...(maxModelLen && { maxModelLen }),
  } as const;
  await withRanks(setup, async (ranks) => {
    for (const prompt of golden.prompts.slice(0, most.prompts)) {
      const fits = prompt.prompt_ids.length + prompt.greedy_ids.length <= shortFactors;
      if (folder.includes('longrope') && fits !== (maxModelLen === shortFactors)) continue;
      const greedyIds = prompt.greedy_ids.slice(0, most.ids);
      const [outputs] = await ranks.generate([prompt.prompt_ids], greedyIds.length, { logprobs: maxLogprobs });
      all.push(outputs);
      assert.deepEqual(
        outputs.map((o) => o.id),
        greedyIds,
        `${folder} ${prompt.id} ${name} ${worldSize}`,
      );
      outputs.forEach((output, i) => {
        prompt.steps[i].top.forEach(([id, logprob], j) => {
          assert.equal(output.top[j][0], id);
          assert.ok(
            Math.abs(output.top[j][1] - logprob) < tolerance,
            `${folder} ${prompt.id} step ${i}: ${output.top[j][1]} and not ${logprob}`,
          );
        });
        assert.equal(output.rank, 1);
      });
      const expected = logSoftmax(lastLogits(prompt));
      assert.equal(new Set(outputs[0].top.map(([id]) => id)).size, expected.length);
      for (const [id, logprob] of outputs[0].top) {
        assert.ok(Math.abs(logprob - expected[id]) < tolerance, `${folder} ${prompt.id} id ${id}: ${logprob} and not ${expected[id]}`);
      }
    }
  });
  return all;
}
