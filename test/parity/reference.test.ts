/**
 * Specs and weight maps against goldens, through the plain float64 forward pass: logits of the last prompt position and greedy ids,
 * for every architecture, with config.json as the hub has it and as transformers 5 writes it. No native code takes part.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel } from '../../src/model/load.js';
import { fixtures, lastLogits, modelsIn, readGolden, sharedData } from './golden.js';
import { readWeights } from './read-weights.js';
import { argmax, referenceForward } from './reference-forward.js';

const greedySteps = 3;
const tolerance = 3e-4;

/** A folder with config.v5.json in the place of config.json. */
function withV5Config(folder: string, run: (folder: string) => Promise<void>): Promise<void> {
  const copy = mkdtempSync(join(tmpdir(), 'lockstep-v5-'));
  for (const name of readdirSync(folder)) if (name !== 'config.json') symlinkSync(join(folder, name), join(copy, name));
  copyFileSync(join(folder, 'config.v5.json'), join(copy, 'config.json'));
  return run(copy).finally(() => rmSync(copy, { recursive: true, force: true }));
}

async function checkPrompt(
  folder: string,
  golden: ReturnType<typeof readGolden>['prompts'][number],
  maxModelLen: number | null,
): Promise<void> {
  const model = await loadModel(folder, { dtype: 'float32', maxModelLen });
  const weights = readWeights(model.weights);
  const expected = lastLogits(golden);
  const ids = [...golden.prompt_ids];
  for (let step = 0; step < greedySteps; step++) {
    const [logits] = referenceForward(model.spec, weights, ids, true) as [Float64Array];
    if (step === 0) {
      let worst = 0;
      expected.forEach((v, i) => {
        worst = Math.max(worst, Math.abs(v - (logits[i] as number)));
      });
      assert.ok(worst < tolerance, `${golden.id}: logits differ by ${worst}`);
    }
    assert.equal(argmax(logits), golden.greedy_ids[step], `${golden.id}: greedy id ${step}`);
    ids.push(golden.greedy_ids[step] as number);
  }
}

async function checkModel(name: string, folder: string): Promise<void> {
  const { prompts } = readGolden(join(folder, 'golden.json'));
  // Longrope takes its short factors only where no longer sequence is served (SOURCE.txt of tiny-models).
  const longrope = name.includes('longrope');
  for (const prompt of prompts) await checkPrompt(folder, prompt, longrope && prompt.prompt_ids.length < 48 ? 48 : null);
}

const directories = [join(fixtures, 'tiny-models'), ...(sharedData ? [join(sharedData, 'tiny-models')] : [])];
const seen = new Set<string>();
for (const directory of directories) {
  for (const name of modelsIn(directory)) {
    if (seen.has(name)) continue;
    seen.add(name);
    const folder = join(directory, name);
    test(`${name}: float64 logits and greedy ids are the golden ones`, () => checkModel(name, folder));
    test(`${name}: the same with the configuration of transformers 5`, { skip: !existsSync(join(folder, 'config.v5.json')) }, () =>
      withV5Config(folder, (copy) => checkModel(name, copy)),
    );
  }
}
/** Really trained, in all its forms: one file, three with an index, GGUF. The last is held against goldens of its own rounded weights. */
const stories: readonly (readonly [what: string, path: string | null, golden: string])[] = [
  ['bf16', join(fixtures, 'stories260K'), join(fixtures, 'stories260K/golden.json')],
  ...(['hf-f32 f32', 'hf-sharded bf16', 'gguf/stories260K-f32.gguf f32', 'gguf/stories260K-q8_0.gguf q8_0'] as const).map((form) => {
    const [path, golden] = form.split(' ') as [string, string];
    return [
      path,
      sharedData && join(sharedData, 'stories260K', path),
      join(sharedData ?? '', `stories260K/golden-${golden}.json`),
    ] as const;
  }),
];
for (const [what, path, golden] of stories) {
  test(`stories260K, ${what}: float64 logits and greedy ids are the golden ones`, {
    skip: path === null && '../shared is not here',
  }, async () => {
    for (const prompt of readGolden(golden).prompts) await checkPrompt(path as string, prompt, null);
  });
}

test('the models outside the repository were found', {
  skip: sharedData === null && '../shared is not here: only the models in test/fixtures were checked',
}, () => {
  assert.ok(seen.size >= 13);
});
