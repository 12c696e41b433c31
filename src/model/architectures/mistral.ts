/**
 * Mistral 7B and later text models: Llama with a sliding window in every layer, where the configuration names one.
 * GGUF calls Llama and Mistral one kind, `llama`; a window there is a key.
 */
import type { Architecture } from './architecture.js';
import { decoderTensors, maxPositions, windowOf } from './decoder.js';
import { ggufLlamaTensors, llamaSpec } from './llama.js';

export const mistral: Architecture = {
  names: ['MistralForCausalLM'],
  spec: (config, options) => llamaSpec(config, options, windowOf(config, 'sliding_window', maxPositions(config))),
  tensors: decoderTensors,
  gguf: { name: 'llama', experts: false, tensors: ggufLlamaTensors },
};
