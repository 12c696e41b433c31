/** A model's goldens through the native core, in float32: every id and log-probability. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readGolden } from './golden.js';
import { type RankSetup, Ranks } from './ranks.js';

/** Of a log-probability. */
export const tolerance = 1e-3;
/** Longrope chooses its factors once, by the longest length: of the golden's prompts two want 48 and one wants more. */
export const shortFactors = 48;

export async function withRanks<T>(setup: RankSetup, use: (ranks: Ranks) => Promise<T>): Promise<T> {
  const ranks = await Ranks.start(setup);
  try {
    return await use(ranks);
  } finally {
    await ranks.stop();
  }
}

/** Greedy ids and log-probabilities of every prompt equal the golden's. */
export async function checkGoldens(folder: string, mode: 'gather' | 'reduce', worldSize: number, maxModelLen?: number): Promise<void> {
  const golden = readGolden(join(folder, 'golden.json'));
  const setup = { path: folder, dtype: 'float32', mode, worldSize, ...(maxModelLen && { maxModelLen }) } as const;
  await withRanks(setup, async (ranks) => {
    for (const prompt of golden.prompts) {
      const fits = prompt.prompt_ids.length + prompt.greedy_ids.length <= shortFactors;
      if (folder.includes('longrope') && fits !== (maxModelLen === shortFactors)) continue;
      const [outputs] = await ranks.generate([prompt.prompt_ids], prompt.greedy_ids.length);
      assert.deepEqual(
        outputs.map((o) => o.id),
        prompt.greedy_ids,
        `${folder} ${prompt.id} ${mode} ${worldSize}`,
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
    }
  });
}
