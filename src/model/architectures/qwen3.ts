/** Qwen3, dense: norms on q and k, no biases. */
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors } from './decoder.js';
import { qwenWindow } from './qwen2.js';

export const qwen3: Architecture = {
  names: ['Qwen3ForCausalLM'],
  spec: (config, options) => {
    const bias = config.boolean('attention_bias', false);
    return decoderSpec(config, options, {
      qkvBias: bias,
      outBias: bias,
      qkNorm: true,
      window: qwenWindow(config),
    });
  },
  tensors: decoderTensors,
  gguf: { name: 'qwen3', experts: false, tensors: ggufTensors },
};
