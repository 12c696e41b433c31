/** Equal bits where they are promised: recorded steps and others, a row alone and in a batch or in chunks; and several ranks on one GPU. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { GpuOptions } from '../../src/addon/binding.js';
import { checkGoldens, withRanks } from '../parity/check-goldens.js';
import { readGolden } from '../parity/golden.js';
import type { Output } from '../parity/ranks.js';
import { mostOf, onGpus, stories, tinyModels } from './goldens.js';
import { check } from './line.js';

const allPrompts = readGolden(join(stories, 'golden.json')).prompts.map(({ prompt_ids }) => prompt_ids);
const sampling = { temperature: 0.9, topP: 0.9, seed: 7 };

interface How {
  readonly alone: boolean;
  readonly chunk?: number;
  readonly worldSize?: number;
  readonly small: boolean;
}

/** Of all prompts, in one batch or one after the other, whole or in chunks. */
function outputsOf(options: Partial<GpuOptions>, { alone, chunk, worldSize = 1, small }: How): Promise<Output[][]> {
  const prompts = allPrompts.slice(0, small ? 2 : allPrompts.length);
  const steps = small ? 3 : 32;
  return withRanks({ path: stories, dtype: 'bfloat16', ...onGpus(options), worldSize }, async (ranks) => {
    const settings = { sampling, ...(chunk === undefined ? {} : { chunk }) };
    if (!alone) return ranks.generate(prompts, steps, settings);
    const all: Output[][] = [];
    for (const prompt of prompts) all.push(...(await ranks.generate([prompt], steps, settings)));
    return all;
  });
}

/** Ids, log-probabilities and the likeliest ids beside them; whichever row a prompt had. */
function expectSame(found: Output[][], expected: Output[][]): string {
  const bits = (outputs: Output[][]) => outputs.map((row) => row.map(({ id, logprob, rank, top }) => ({ id, logprob, rank, top })));
  assert.deepEqual(bits(found), bits(expected));
  return `${found.flat().length} ids and their log-probabilities have the same bits`;
}

export async function sameness(small: boolean): Promise<void> {
  let reference: Output[][] = [];
  await check('a batch of prompts, stories260K in bfloat16', async () => {
    reference = await outputsOf({}, { alone: false, small });
    return `${reference.flat().length} ids`;
  });
  await check('recorded steps and those that are not', async () =>
    expectSame(await outputsOf({ records: false }, { alone: false, small }), reference),
  );
  await check('a prompt alone and in a batch, --deterministic', async () =>
    expectSame(await outputsOf({}, { alone: true, small }), reference),
  );
  await check('a prompt whole and in chunks, --deterministic', async () =>
    expectSame(await outputsOf({}, { alone: false, chunk: 5, small }), reference),
  );
}

/** `nccl`: the libnccl of the tests. */
export async function severalRanks(nccl: string, small: boolean): Promise<void> {
  const model = join(tinyModels, 'llama-9h3kv-rope-llama3');
  for (const worldSize of [2, 4]) {
    for (const [sums, by] of [
      ['peers', 'kernels that read the other ranks’ memory'],
      ['library', 'the libnccl of the tests'],
    ] as const) {
      await check(`goldens on ${worldSize} ranks of one GPU, summed by ${by}`, async () => {
        await checkGoldens(model, onGpus({ sums, nccl: sums === 'library' ? nccl : '' }), worldSize, undefined, mostOf(small));
        return 'llama-9h3kv-rope-llama3 in float32';
      });
    }
    await check(`the same bits again on ${worldSize} ranks`, async () =>
      expectSame(
        await outputsOf({}, { alone: true, worldSize, small }),
        await outputsOf({ records: false }, { alone: false, worldSize, small }),
      ),
    );
  }
}
