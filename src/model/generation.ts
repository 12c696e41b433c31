/** generation_config.json: where generation ends, and the author's sampling defaults. What it does not say stands in config.json. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Config, readConfig } from './config.js';
import type { GenerationDefaults } from './spec.js';

const eosIdsMax = 128;

/** Ids under `key`: one, a list, or none. */
function ids(config: Config, key: string): readonly number[] {
  if (!config.has(key)) return [];
  const value = config.fields[key];
  const list = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  const valid = list.every((id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0);
  if (!valid || list.length > eosIdsMax) throw config.fault(key, `a token id or a list of at most ${eosIdsMax}`);
  return [...new Set(list as readonly number[])];
}

export function generationDefaults(folder: string, model: Config): GenerationDefaults {
  const path = join(folder, 'generation_config.json');
  const own = existsSync(path) ? readConfig(path) : new Config(path, {});
  const first = (key: string) => [...ids(own, key), ...ids(model, key)][0] ?? null;
  const eos = ids(own, 'eos_token_id');
  const optional = (name: keyof GenerationDefaults, key: string) => (own.has(key) ? { [name]: own.number(key) } : {});
  return {
    eosTokenIds: eos.length > 0 ? eos : ids(model, 'eos_token_id'),
    bosTokenId: first('bos_token_id'),
    padTokenId: first('pad_token_id'),
    ...optional('temperature', 'temperature'),
    ...optional('topP', 'top_p'),
    ...optional('topK', 'top_k'),
    ...optional('minP', 'min_p'),
    ...optional('repetitionPenalty', 'repetition_penalty'),
    ...optional('maxNewTokens', 'max_new_tokens'),
  };
}
