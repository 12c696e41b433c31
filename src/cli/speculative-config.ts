/** `--speculative-config`: what vLLM calls it, for the one method that is built. */
import { startError } from '../errors.js';

export interface SpeculativeConfig {
  /** Most drafts of a sequence in a step. */
  readonly maxDrafts: number;
  /** Tokens that must agree with the sequence's newest ones, and that at most are compared. */
  readonly lookupMin: number;
  readonly lookupMax: number;
  /** Drafts are tried while they pay by what was measured; false: all of them in every step, as vLLM does. */
  readonly isAdaptive: boolean;
}

const maxSpeculativeTokens = 32;
const maxLookup = 32;
/** Where neither bound is given. vLLM takes 5 and 5; as drafts are tried only where they pay, shorter matches may be looked at too. */
const lookupDefault = { min: 2, max: 5 };

const keys = ['method', 'num_speculative_tokens', 'prompt_lookup_min', 'prompt_lookup_max', 'adaptive'];

const refuse = (message: string): never => {
  throw startError(`--speculative-config: ${message}`, { param: 'speculative-config' });
};

interface SpeculationFlags {
  readonly speculativeConfig: Readonly<Record<string, unknown>> | null;
  readonly specMethod: string | null;
  readonly specTokens: number | null;
}

/** What --speculative-config says, or --spec-method and --spec-tokens; null: no drafts. Throws LockstepError `start`. */
export function speculationOf({ speculativeConfig, specMethod, specTokens }: SpeculationFlags): SpeculativeConfig | null {
  const inShort = specMethod !== null || specTokens !== null;
  if (!inShort) return speculativeConfig === null ? null : parseSpeculativeConfig(speculativeConfig);
  if (speculativeConfig !== null) refuse('it says all of speculation; leave out --spec-method and --spec-tokens');
  if (specMethod === null || specTokens === null) throw startError('--spec-method and --spec-tokens go together', { param: 'spec-method' });
  return parseSpeculativeConfig({ method: specMethod, num_speculative_tokens: specTokens });
}

/** Throws LockstepError `start` naming the field that cannot be honoured, and what may stand there. */
export function parseSpeculativeConfig(config: Readonly<Record<string, unknown>>): SpeculativeConfig {
  const { method } = config;
  if (method !== 'ngram') {
    refuse(
      `the method must be "ngram" (prompt lookup), not ${JSON.stringify(method) ?? 'left out'}: no draft model or draft head is run here`,
    );
  }
  const unknown = Object.keys(config).find((key) => !keys.includes(key));
  if (unknown !== undefined) refuse(`'${unknown}' has no meaning for the method "ngram"; it takes ${keys.join(', ')}`);
  const maxDrafts = numberOf(config, 'num_speculative_tokens', maxSpeculativeTokens);
  if (maxDrafts === null) return refuse(`num_speculative_tokens is missing: the most drafts of a step, 1 to ${maxSpeculativeTokens}`);
  const min = numberOf(config, 'prompt_lookup_min', maxLookup);
  const max = numberOf(config, 'prompt_lookup_max', maxLookup);
  // As vLLM: one alone is both.
  const lookupMin = min ?? max ?? lookupDefault.min;
  const lookupMax = max ?? min ?? lookupDefault.max;
  if (lookupMin > lookupMax) refuse(`prompt_lookup_min ${lookupMin} is more than prompt_lookup_max ${lookupMax}`);
  const isAdaptive = config.adaptive ?? true;
  if (typeof isAdaptive !== 'boolean') return refuse(`adaptive must be true or false, not ${JSON.stringify(isAdaptive)}`);
  return { maxDrafts, lookupMin, lookupMax, isAdaptive };
}

function numberOf(config: Readonly<Record<string, unknown>>, key: string, most: number): number | null {
  const value = config[key] ?? null;
  if (value === null) return null;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most) return value;
  return refuse(`${key} must be a whole number from 1 to ${most}, not ${JSON.stringify(value)}`);
}
