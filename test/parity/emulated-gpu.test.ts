/**
 * The CUDA backend against goldens in float32, without a device: the addon whose CUDA runtime has devices of host memory and runs the kernels'
 * own source, and a libnccl of the tests' for several ranks.
 */
import { join } from 'node:path';
import { test } from 'node:test';
import { checkGoldens, shortFactors } from './check-goldens.js';
import { fixtures, modelsIn, sharedData } from './golden.js';

const folder = join(sharedData ?? fixtures, 'tiny-models');
/** On three devices too, an emulated one being slow: heads that are dealt unevenly, and experts. */
const cutModels = ['llama-9h3kv-rope-llama3', 'qwen3moe-4h2kv-8x2'];
for (const name of modelsIn(folder)) {
  test(`goldens of ${name} on emulated GPUs`, async () => {
    for (const length of name.includes('longrope') ? [shortFactors, undefined] : [undefined]) {
      for (const worldSize of cutModels.includes(name) ? [1, 3] : [1])
        await checkGoldens(join(folder, name), 'emulated GPUs', worldSize, length);
    }
  });
}
