/** Phi-3, Phi-3.5 and Phi-4 mini: q, k, v and gate, up each in one matrix; part of a head may turn; longrope for long contexts. */
import type { Architecture } from './architecture.js';
import { decoderSpec, decoderTensors, ggufTensors, maxPositions, windowOf } from './decoder.js';

const qkv = ['q', 'k', 'v'];
const gateUp = ['gate', 'up'];

export const phi3: Architecture = {
  names: ['Phi3ForCausalLM'],
  spec: (config, options) => {
    const window = windowOf(config, 'sliding_window', maxPositions(config));
    return decoderSpec(config, options, { window: () => window });
  },
  tensors: {
    ...decoderTensors,
    ...Object.fromEntries(qkv.map((part) => [`layers.*.${part}`, { name: 'model.layers.*.self_attn.qkv_proj.weight', fused: qkv }])),
    ...Object.fromEntries(gateUp.map((part) => [`layers.*.${part}`, { name: 'model.layers.*.mlp.gate_up_proj.weight', fused: gateUp }])),
  },
  gguf: {
    name: 'phi3',
    experts: false,
    tensors: {
      ...ggufTensors,
      ...Object.fromEntries(qkv.map((part) => [`layers.*.${part}`, { name: 'blk.*.attn_qkv.weight', fused: qkv }])),
      ...Object.fromEntries(gateUp.map((part) => [`layers.*.${part}`, { name: 'blk.*.ffn_up.weight', fused: gateUp }])),
    },
  },
};
