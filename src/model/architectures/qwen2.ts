/** Qwen2 and Qwen2.5: biases on q, k and v; upper layers may slide. */
import { bounds, type Config } from '../config.js';
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors, maxPositions, slidingLayers, windowOf } from './decoder.js';

/** Qwen's rule: `use_sliding_window` lets the layers from `max_window_layers` on slide. */
export function qwenWindow(config: Config): (layer: number) => number | null {
  const window = config.boolean('use_sliding_window', false) ? windowOf(config, 'sliding_window', maxPositions(config)) : null;
  const first = config.number('max_window_layers', 28);
  const slides = slidingLayers(config, config.count('num_hidden_layers', bounds.layers), (layer) => layer >= first);
  return (layer) => (slides(layer) ? window : null);
}

export const qwen2: Architecture = {
  names: ['Qwen2ForCausalLM'],
  spec: (config, options) => decoderSpec(config, options, { qkvBias: true, window: qwenWindow(config) }),
  tensors: decoderTensors,
  gguf: { name: 'qwen2', experts: false, tensors: ggufTensors },
};
