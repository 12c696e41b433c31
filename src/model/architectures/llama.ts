/** Llama 2 and 3, SmolLM2 and others that use its code. GGUF files of this kind interleave the rotary pairs of q and k. */
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors } from './decoder.js';

export const ggufLlamaTensors = {
  ...ggufTensors,
  'layers.*.q': { name: 'blk.*.attn_q.weight', interleaved: true },
  'layers.*.k': { name: 'blk.*.attn_k.weight', interleaved: true },
};

export const llama: Architecture = {
  names: ['LlamaForCausalLM'],
  spec: (config, options) => {
    const bias = config.boolean('attention_bias', false);
    return decoderSpec(config, options, {
      architecture: 'LlamaForCausalLM',
      qkvBias: bias,
      outBias: bias,
      mlpBias: config.boolean('mlp_bias', false),
    });
  },
  tensors: decoderTensors,
  gguf: { name: 'llama', experts: false, tensors: ggufLlamaTensors },
};
