/** For tests: sequences with every field neutral but those that a test is about. */
import { neutralSampling, type SamplingParams, type StopRule } from '../sampling/params.js';
import type { SequenceInput } from './sequence.js';

const plainStop: StopRule = {
  eosTokenIds: [],
  stopTokenIds: [],
  stopStrings: [],
  includeStopString: false,
  ignoreEos: false,
  minTokens: 0,
  maxTokens: 1000,
};

interface Fields extends Partial<StopRule> {
  readonly sampling?: Partial<SamplingParams>;
  readonly choice?: number;
  readonly seed?: bigint;
  readonly priority?: number;
  readonly cacheSalt?: string | null;
}

export function sequenceInput(key: number, prompt: ArrayLike<number>, fields: Fields = {}): SequenceInput {
  const { sampling, choice = 0, seed = 0n, priority = 0, cacheSalt = null, ...stop } = fields;
  return {
    key,
    promptTokens: Int32Array.from(prompt),
    sampling: { ...neutralSampling, ...sampling },
    choice,
    seed,
    stop: { ...plainStop, ...stop },
    priority,
    cacheSalt,
  };
}
