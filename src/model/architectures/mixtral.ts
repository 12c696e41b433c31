/** Mixtral: Mistral with experts in every layer. Softmax over all experts, then the chosen ones' weights scaled to sum to 1. */
import { bounds, type Config } from '../config.js';
import type { ExpertSpec } from '../spec.js';
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, maxPositions, windowOf } from './decoder.js';
import { ggufLlamaTensors } from './llama.js';

/** Counts of experts; `countKey` differs by family and by release of transformers. */
export function expertCounts(config: Config, countKey: string): Pick<ExpertSpec, 'count' | 'topK'> {
  const count = config.count(countKey, bounds.experts);
  return { count, topK: config.count('num_experts_per_tok', count) };
}

export const mixtral: Architecture = {
  names: ['MixtralForCausalLM'],
  spec: (config, options) => {
    const window = windowOf(config, 'sliding_window', maxPositions(config));
    const experts: ExpertSpec = {
      ...expertCounts(config, 'num_local_experts'),
      intermediate: config.count('intermediate_size', bounds.width),
      normalizeTopK: true,
    };
    return decoderSpec(config, options, {
      thetaByDefault: 1_000_000,
      window: () => window,
      experts: () => experts,
    });
  },
  tensors: {
    ...decoderTensors,
    'layers.*.router': 'model.layers.*.block_sparse_moe.gate.weight',
    'layers.*.experts.#.gate': 'model.layers.*.block_sparse_moe.experts.#.w1.weight',
    'layers.*.experts.#.down': 'model.layers.*.block_sparse_moe.experts.#.w2.weight',
    'layers.*.experts.#.up': 'model.layers.*.block_sparse_moe.experts.#.w3.weight',
  },
  gguf: { name: 'llama', experts: true, tensors: ggufLlamaTensors },
};
