/**
 * Rotary embedding frequencies (Su et al. 2021) with every scaling rule applied, as transformers' modeling_rope_utils computes them.
 * A server has one table for each kind of layer: rules that change with the length of a sequence are refused, since a cached prefix
 * must have one K.
 */
import { startError } from '../errors.js';
import type { Config } from './config.js';
import type { RopeSpec } from './spec.js';

export interface RopeInput {
  readonly headDim: number;
  readonly theta: number;
  /** Share of head_dim that turns. */
  readonly partialFactor: number;
  /** `rope_scaling`, or `rope_parameters` of transformers 5; null: none. */
  readonly scaling: Config | null;
  readonly maxPositions: number;
  readonly originalMaxPositions: number | null;
  /** Longest sequence that is served: longrope chooses between its two tables by it. */
  readonly servedLen: number;
}

const supported = ['default', 'linear', 'llama3', 'yarn', 'longrope'] as const;

/** Every field that is read here or asks for nothing. Another one would change the table in a way that is not known. */
// biome-ignore format: a table
const knownFields = new Set([
  'rope_type', 'type', 'rope_theta', 'partial_rotary_factor', 'factor', 'original_max_position_embeddings', 'low_freq_factor',
  'high_freq_factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', 'attention_factor', 'truncate', 'finetuned', 'short_factor',
  'long_factor', 'short_mscale', 'long_mscale', 'factors',
]);

/** `rope_type`; older files say `type`, and `su` for longrope. */
export function ropeType(scaling: Config | null): string {
  if (scaling === null) return 'default';
  const type = scaling.string('rope_type', scaling.string('type', 'default'));
  return type === 'su' ? 'longrope' : type;
}

export function ropeSpec(input: RopeInput): RopeSpec {
  const { scaling, theta } = input;
  const rotaryDim = Math.floor(input.headDim * input.partialFactor);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0 || rotaryDim > input.headDim) {
    throw startError(
      `rotary embedding over ${rotaryDim} of ${input.headDim} values of a head: expected an even number up to the head's size`,
    );
  }
  const plain = Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** ((-2 * i) / rotaryDim));
  const type = ropeType(scaling);
  const spec = (frequencies: readonly number[], attentionFactor = 1): RopeSpec => {
    const inverseFrequencies = frequencies.map(Math.fround);
    // Each field alone may be in order, as a theta of 1 is, and a rule still divide by its logarithm.
    if (!inverseFrequencies.every(Number.isFinite) || !Number.isFinite(attentionFactor)) {
      throw startError(
        `rotary embedding: theta ${theta} and the scaling ${JSON.stringify(scaling?.fields ?? null)} give no finite frequencies`,
      );
    }
    return { rotaryDim, inverseFrequencies, attentionFactor };
  };
  if (scaling === null || type === 'default') return spec(plain);
  const unknown = Object.keys(scaling.fields).find((key) => !knownFields.has(key));
  if (unknown !== undefined) throw startError(`${scaling.where}: ${unknown} is not supported`);
  switch (type) {
    case 'linear': {
      const factor = scaling.positive('factor');
      return spec(plain.map((f) => f / factor));
    }
    case 'llama3':
      return spec(llama3(plain, scaling));
    case 'yarn':
      return spec(...yarn(plain, input, scaling));
    case 'longrope':
      return spec(...longrope(plain, input, scaling));
    case 'factors':
      return spec(divided(plain, scaling, 'factors'));
    case 'dynamic':
      throw startError(
        `${scaling.where}: rope_type dynamic is not supported: its frequencies change with the length of each sequence, ` +
          'so that cached prefixes would not fit; remove it, or use yarn',
      );
    default:
      throw startError(`${scaling.where}: rope_type ${JSON.stringify(type)} is not supported; supported are ${supported.join(', ')}`);
  }
}

/** Divides by a list of factors, one for each frequency. */
function divided(plain: readonly number[], scaling: Config, key: string): number[] {
  const factors = scaling.numbers(key);
  if (factors.length !== plain.length || factors.some((f) => !(f > 0))) {
    throw startError(
      `${scaling.where}: ${key} must hold ${plain.length} numbers above 0, one for each frequency; it holds ${factors.length}`,
    );
  }
  return plain.map((f, i) => f / (factors[i] as number));
}

/** Long waves are slowed by `factor`, short ones kept, with a ramp between (Llama 3.1). */
function llama3(plain: readonly number[], scaling: Config): number[] {
  const factor = scaling.positive('factor');
  const low = scaling.positive('low_freq_factor');
  const high = scaling.positive('high_freq_factor');
  const original = scaling.positive('original_max_position_embeddings');
  if (!(high > low)) throw scaling.fault('high_freq_factor', 'a number above low_freq_factor');
  return plain.map((f) => {
    const turns = (original * f) / (2 * Math.PI); // of this wave in the original context
    if (turns < low) return f / factor;
    if (turns > high) return f;
    const smooth = (turns - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}

/** YaRN (Peng et al. 2023): a ramp between interpolated and kept frequencies, and a temperature on attention. */
function yarn(plain: readonly number[], input: RopeInput, scaling: Config): [number[], number] {
  const original = scaling.positive('original_max_position_embeddings', input.originalMaxPositions ?? input.maxPositions);
  const factor = scaling.positive('factor', input.maxPositions / original);
  const dim = plain.length * 2;
  const dimOfTurns = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(input.theta));
  const truncate = scaling.boolean('truncate', true);
  const fast = dimOfTurns(scaling.positive('beta_fast', 32));
  const slow = dimOfTurns(scaling.positive('beta_slow', 1));
  const first = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const last = Math.min(truncate ? Math.ceil(slow) : slow, dim - 1);
  const width = first === last ? 0.001 : last - first;
  const frequencies = plain.map((f, i) => {
    const ramp = Math.min(Math.max((i - first) / width, 0), 1);
    return (f / factor) * ramp + f * (1 - ramp);
  });
  return [frequencies, scaling.positive('attention_factor', yarnTemperature(factor, scaling))];
}

function yarnTemperature(factor: number, scaling: Config): number {
  const temperature = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const mscale = scaling.number('mscale', 0);
  const mscaleAllDim = scaling.number('mscale_all_dim', 0);
  return mscale !== 0 && mscaleAllDim !== 0 ? temperature(mscale) / temperature(mscaleAllDim) : temperature(1);
}

/** LongRoPE (Ding et al. 2024). The short or the long table is taken once, by the longest sequence that is served, as vLLM does. */
function longrope(plain: readonly number[], input: RopeInput, scaling: Config): [number[], number] {
  const original = input.originalMaxPositions ?? scaling.positive('original_max_position_embeddings');
  const long = input.servedLen > original;
  const factor = input.maxPositions / original;
  const temperature = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  const own = long ? 'long_mscale' : 'short_mscale';
  const attentionFactor = scaling.positive(own, scaling.positive('attention_factor', temperature));
  return [divided(plain, scaling, long ? 'long_factor' : 'short_factor'), attentionFactor];
}
