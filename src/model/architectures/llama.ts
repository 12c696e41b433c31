/** Llama 2 and 3, SmolLM2 and others that use its code. */
import type { Config } from '../config.js';
import type { ModelSpec } from '../spec.js';
import type { Architecture, SpecOptions } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors } from './decoder.js';

export function llamaSpec(config: Config, options: SpecOptions, window: number | null): ModelSpec {
  const bias = config.boolean('attention_bias', false);
  return decoderSpec(config, options, { qkvBias: bias, outBias: bias, mlpBias: config.boolean('mlp_bias', false), window: () => window });
}

/** GGUF files of the Llama kind interleave the rotary pairs of q and k. */
export const ggufLlamaTensors = {
  ...ggufTensors,
  'layers.*.q': { name: 'blk.*.attn_q.weight', interleaved: true },
  'layers.*.k': { name: 'blk.*.attn_k.weight', interleaved: true },
  'layers.*.qBias': { name: 'blk.*.attn_q.bias', interleaved: true },
  'layers.*.kBias': { name: 'blk.*.attn_k.bias', interleaved: true },
};

export const llama: Architecture = {
  names: ['LlamaForCausalLM'],
  spec: (config, options) => llamaSpec(config, options, null),
  tensors: decoderTensors,
};
