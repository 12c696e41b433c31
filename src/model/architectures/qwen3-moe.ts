/** Qwen3 with experts; some layers may be dense (`mlp_only_layers`, `decoder_sparse_step`). */
import { bounds } from '../config.js';
import type { ExpertSpec } from '../spec.js';
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors } from './decoder.js';
import { expertCounts } from './mixtral.js';
import { qwenWindow } from './qwen2.js';

export const qwen3Moe: Architecture = {
  names: ['Qwen3MoeForCausalLM'],
  spec: (config, options) => {
    const bias = config.boolean('attention_bias', false);
    const experts: ExpertSpec = {
      // transformers 5 writes num_local_experts.
      ...expertCounts(config, config.has('num_experts') ? 'num_experts' : 'num_local_experts'),
      intermediate: config.count('moe_intermediate_size', bounds.width),
      normalizeTopK: config.boolean('norm_topk_prob', false),
    };
    const dense = new Set(config.has('mlp_only_layers') ? config.numbers('mlp_only_layers') : []);
    const step = config.count('decoder_sparse_step', bounds.layers, 1);
    return decoderSpec(config, options, {
      qkvBias: bias,
      outBias: bias,
      qkNorm: true,
      window: qwenWindow(config),
      experts: (layer) => (!dense.has(layer) && (layer + 1) % step === 0 ? experts : null),
    });
  },
  tensors: {
    ...decoderTensors,
    'layers.*.router': 'model.layers.*.mlp.gate.weight',
    'layers.*.experts.#.gate': 'model.layers.*.mlp.experts.#.gate_proj.weight',
    'layers.*.experts.#.up': 'model.layers.*.mlp.experts.#.up_proj.weight',
    'layers.*.experts.#.down': 'model.layers.*.mlp.experts.#.down_proj.weight',
  },
  gguf: { name: 'qwen3moe', experts: true, implied: () => ({ norm_topk_prob: true }), tensors: ggufTensors },
};
