/** OPT: learned positions that start at row 2, layer norms and biases everywhere, ReLU. Its post-norm variant (350m) is refused. */
import { bounds } from '../config.js';
import type { LayerSpec } from '../spec.js';
import type { Architecture } from './architecture.js';
import { activation, architectureName, layerNorm } from './decoder.js';

/** Rows of the position table that no position uses. */
const positionOffset = 2;

export const opt: Architecture = {
  names: ['OPTForCausalLM'],
  spec: (config) => {
    const hidden = config.count('hidden_size', bounds.width);
    const heads = config.count('num_attention_heads', bounds.heads);
    if (hidden % heads !== 0) throw config.fault('num_attention_heads', `a divisor of hidden_size, ${hidden}`);
    const refusals: readonly [key: string, found: boolean, expected: string][] = [
      ['do_layer_norm_before', !config.boolean('do_layer_norm_before', true), 'true: norms after each half (opt-350m) are not supported'],
      [
        'word_embed_proj_dim',
        config.number('word_embed_proj_dim', hidden) !== hidden,
        `hidden_size, ${hidden}: projected embeddings (opt-350m) are not supported`,
      ],
      ['_remove_final_layer_norm', config.boolean('_remove_final_layer_norm', false), 'false: a model without final norm is not supported'],
      [
        'layer_norm_elementwise_affine',
        !config.boolean('layer_norm_elementwise_affine', true),
        'true: norms without weights are not supported',
      ],
    ];
    for (const [key, found, expected] of refusals) if (found) throw config.fault(key, expected);
    const headDim = hidden / heads;
    const bias = config.boolean('enable_bias', true);
    const positions = config.count('max_position_embeddings', bounds.positions);
    const norm = layerNorm(1e-5);
    const layer: LayerSpec = {
      attention: { qkvBias: bias, outBias: bias, qkNorm: null, window: null, softcap: null, scale: 1 / Math.sqrt(headDim) },
      rope: null,
      mlp: {
        intermediate: config.count('ffn_dim', bounds.width),
        gated: false,
        activation: activation(config, 'activation_function', 'relu'),
        bias,
        experts: null,
      },
      norms: { beforeAttention: norm, afterAttention: null, beforeMlp: norm, afterMlp: null },
    };
    return {
      architecture: architectureName(config),
      dims: { hidden, vocab: config.count('vocab_size', bounds.vocab), heads, kvHeads: heads, headDim },
      maxPositions: positions,
      embedding: {
        scale: 1,
        learnedPositions: { offset: positionOffset, count: positions + positionOffset },
        tokenTypes: null,
        tied: config.boolean('tie_word_embeddings', true),
      },
      ropes: [],
      layers: Array.from({ length: config.count('num_hidden_layers', bounds.layers) }, () => layer),
      finalNorm: norm,
      postNorm: false,
      causal: true,
      logits: { softcap: null, scale: 1 },
    };
  },
  aliases: [['model.decoder.', 'decoder.']],
  tensors: {
    embed: 'decoder.embed_tokens.weight',
    embedPositions: 'decoder.embed_positions.weight',
    head: 'lm_head.weight',
    finalNorm: 'decoder.final_layer_norm.weight',
    finalNormBias: 'decoder.final_layer_norm.bias',
    ...Object.fromEntries(
      Object.entries({
        attnNorm: 'self_attn_layer_norm',
        q: 'self_attn.q_proj',
        k: 'self_attn.k_proj',
        v: 'self_attn.v_proj',
        o: 'self_attn.out_proj',
        mlpNorm: 'final_layer_norm',
        up: 'fc1',
        down: 'fc2',
      }).flatMap(([part, name]) => [
        [`layers.*.${part}`, `decoder.layers.*.${name}.weight`],
        [`layers.*.${part}Bias`, `decoder.layers.*.${name}.bias`],
      ]),
    ),
  },
};
