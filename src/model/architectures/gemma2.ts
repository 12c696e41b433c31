/**
 * Gemma 2: four norms a layer, stored as w - 1; soft caps; every other layer slides; the embedding is scaled.
 * GGUF files hold the norms as w, which the name table undoes, so that both forms give one spec.
 */
import { bounds, type Config } from '../config.js';
import { roundTo } from '../quantization/formats.js';
import type { LayerSpec, ModelSpec } from '../spec.js';
import type { TensorRules } from '../tensors.js';
import type { Architecture, SpecOptions } from './architecture.js';
import { activation, decoderSpec, decoderTensors, ggufTensors, maxPositions, rmsNorm, slidingLayers, windowOf } from './decoder.js';

export const gemmaTensors: TensorRules = {
  ...decoderTensors,
  'layers.*.postAttnNorm': 'model.layers.*.post_attention_layernorm.weight',
  'layers.*.mlpNorm': 'model.layers.*.pre_feedforward_layernorm.weight',
  'layers.*.postMlpNorm': 'model.layers.*.post_feedforward_layernorm.weight',
};

export const gemmaGgufTensors: TensorRules = {
  ...ggufTensors,
  finalNorm: { name: 'output_norm.weight', bias: -1 },
  'layers.*.attnNorm': { name: 'blk.*.attn_norm.weight', bias: -1 },
  'layers.*.postAttnNorm': { name: 'blk.*.post_attention_norm.weight', bias: -1 },
  'layers.*.mlpNorm': { name: 'blk.*.ffn_norm.weight', bias: -1 },
  'layers.*.postMlpNorm': { name: 'blk.*.post_ffw_norm.weight', bias: -1 },
  'layers.*.qNorm': { name: 'blk.*.attn_q_norm.weight', bias: -1 },
  'layers.*.kNorm': { name: 'blk.*.attn_k_norm.weight', bias: -1 },
};

/** What Gemma 2 and 3 share, over the plain decoder. `softcap` is attention's. */
export function gemmaSpec(config: Config, options: SpecOptions, traits: { qkNorm: boolean; softcap: number | null }): ModelSpec {
  const base = decoderSpec(config, options, { tiedByDefault: true });
  const norm = rmsNorm(config.positive('rms_norm_eps', 1e-6), 1);
  const act = activation(config, 'hidden_activation', 'gelu_pytorch_tanh');
  const scale = 1 / Math.sqrt(config.positive('query_pre_attn_scalar', 256));
  const layer = (of: LayerSpec): LayerSpec => ({
    ...of,
    attention: { ...of.attention, qkNorm: traits.qkNorm ? norm : null, softcap: traits.softcap, scale },
    mlp: { ...of.mlp, activation: act },
    norms: { beforeAttention: norm, afterAttention: norm, beforeMlp: norm, afterMlp: norm },
  });
  return {
    ...base,
    // transformers multiplies by sqrt(hidden) in the compute type; the rounding shows in the logits.
    embedding: { ...base.embedding, scale: roundTo(options.computeType, Math.sqrt(base.dims.hidden)) },
    layers: base.layers.map(layer),
    finalNorm: norm,
  };
}

/** llama.cpp's rule, as no key says it: the largest model of the family divides by hidden / heads, the others by head_dim. */
export function impliedScalar(header: Config, layersOfLargest: number): number {
  if (header.has('attention.scale')) return header.number('attention.scale') ** -2;
  const hidden = header.number('embedding_length');
  const heads = header.number('attention.head_count');
  return header.number('block_count') === layersOfLargest ? hidden / heads : header.number('attention.key_length', hidden / heads);
}

export const gemma2: Architecture = {
  names: ['Gemma2ForCausalLM'],
  spec: (config, options) => {
    const base = gemmaSpec(config, options, {
      qkNorm: false,
      softcap: config.numberOrNull('attn_logit_softcapping', 50),
    });
    const window = windowOf(config, 'sliding_window', maxPositions(config), 4096);
    const slides = slidingLayers(config, config.count('num_hidden_layers', bounds.layers), (layer) => layer % 2 === 0);
    return {
      ...base,
      layers: base.layers.map((of, i) => ({ ...of, attention: { ...of.attention, window: slides(i) ? window : null } })),
      logits: { softcap: config.numberOrNull('final_logit_softcapping', 30), scale: 1 },
    };
  },
  tensors: gemmaTensors,
  gguf: {
    name: 'gemma2',
    experts: false,
    implied: (header) => ({
      attn_logit_softcapping: header.number('attn_logit_softcapping', 50),
      final_logit_softcapping: header.number('final_logit_softcapping', 30),
      sliding_window: header.number('attention.sliding_window', 4096),
      query_pre_attn_scalar: impliedScalar(header, 46),
    }),
    tensors: gemmaGgufTensors,
  },
};
