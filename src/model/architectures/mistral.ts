/** Mistral 7B and later text models: Llama with a sliding window in every layer, where the configuration names one. */
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, maxPositions, windowOf } from './decoder.js';

export const mistral: Architecture = {
  names: ['MistralForCausalLM'],
  spec: (config, options) => {
    const window = windowOf(config, 'sliding_window', maxPositions(config));
    return decoderSpec(config, options, { architecture: 'MistralForCausalLM', window: () => window });
  },
  tensors: decoderTensors,
};
