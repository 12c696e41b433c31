/** `--generation-config` and `--override-generation-config`: which sampling defaults a request starts from. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { boundedSchema } from '../api/fields.js';
import { sharedFields } from '../api/request-fields.js';
import { findFault } from '../api/schema.js';
import type { ModelDefaults } from '../api/served-model.js';
import { startError } from '../errors.js';
import { Config } from '../model/config.js';
import { generationDefaults } from '../model/generation.js';
import type { GenerationDefaults } from '../model/spec.js';

const overrides = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  min_p: 'minP',
  repetition_penalty: 'repetitionPenalty',
  max_new_tokens: 'maxNewTokens',
} as const;

/** Where generation ends always comes from the model; the author's sampling defaults do unless `source` says otherwise. */
export function samplingDefaults(model: GenerationDefaults, source: string, given: Readonly<Record<string, unknown>>): ModelDefaults {
  const { eosTokenIds } = model;
  const base = source === 'auto' ? model : source === 'vllm' ? {} : ofFolder(source);
  const result: Record<string, unknown> = { ...base, eosTokenIds };
  for (const [key, value] of Object.entries(given)) {
    const name = overrides[key as keyof typeof overrides];
    if (name === undefined || typeof value !== 'number' || !Number.isFinite(value)) {
      const known = Object.keys(overrides).join(', ');
      throw startError(`--override-generation-config: '${key}' is not one of ${known} with a number`, {
        param: 'override-generation-config',
      });
    }
    result[name] = value;
  }
  for (const [key, name] of Object.entries(overrides)) {
    const value = result[name];
    const row = sharedFields.find((field) => field.name === key);
    if (row === undefined || typeof value !== 'number') continue;
    const fault = findFault(boundedSchema(row), value);
    if (fault !== null) throw startError(`default sampling parameters: ${key} is ${value} and must be ${fault.expected}`);
  }
  return result as unknown as ModelDefaults;
}

function ofFolder(folder: string): GenerationDefaults {
  if (!existsSync(join(folder, 'generation_config.json'))) {
    throw startError(`--generation-config must be auto, vllm or a folder with a generation_config.json, and ${folder} is none`, {
      param: 'generation-config',
    });
  }
  return generationDefaults(folder, new Config(join(folder, 'config.json'), {}));
}
