/** GPT-2: learned positions, layer norms with biases, no gate, and linear layers stored [in, out] (Conv1D). */
import { bounds } from '../config.js';
import type { LayerSpec } from '../spec.js';
import type { TensorRules } from '../tensors.js';
import type { Architecture } from './architecture.js';
import { activation, architectureName, layerNorm } from './decoder.js';

const qkv = ['q', 'k', 'v'];
const qkvBias = ['qBias', 'kBias', 'vBias'];

/** Names after `layers.*.` that both forms have; `names` gives theirs. */
function gpt2Tensors(top: TensorRules, prefix: string, names: Readonly<Record<string, string>>, transposed: boolean): TensorRules {
  const rule = (part: string, suffix: string, fused?: readonly string[]) => ({
    name: `${prefix}${names[part]}.${suffix}`,
    transposed,
    ...(fused && { fused }),
  });
  const pair = (part: string) => [
    [`layers.*.${part}`, rule(part, 'weight')],
    [`layers.*.${part}Bias`, rule(part, 'bias')],
  ];
  return {
    ...top,
    ...Object.fromEntries(qkv.map((part) => [`layers.*.${part}`, rule('qkv', 'weight', qkv)])),
    ...Object.fromEntries(qkvBias.map((part) => [`layers.*.${part}`, rule('qkv', 'bias', qkvBias)])),
    ...Object.fromEntries(['attnNorm', 'o', 'mlpNorm', 'up', 'down'].flatMap(pair)),
  };
}

export const gpt2: Architecture = {
  names: ['GPT2LMHeadModel'],
  spec: (config) => {
    const hidden = config.count('n_embd', bounds.width);
    const heads = config.count('n_head', bounds.heads);
    if (hidden % heads !== 0) throw config.fault('n_head', `a divisor of n_embd, ${hidden}`);
    if (config.boolean('add_cross_attention', false)) throw config.fault('add_cross_attention', 'false: there is no encoder here');
    const headDim = hidden / heads;
    const norm = layerNorm(config.positive('layer_norm_epsilon', 1e-5));
    const scale = config.boolean('scale_attn_weights', true) ? 1 / Math.sqrt(headDim) : 1;
    const byLayer = config.boolean('scale_attn_by_inverse_layer_idx', false);
    const positions = config.count('n_positions', bounds.positions);
    const act = activation(config, 'activation_function', 'gelu_new');
    const intermediate = config.count('n_inner', bounds.width, 4 * hidden);
    const layer = (_: unknown, i: number): LayerSpec => ({
      attention: { qkvBias: true, outBias: true, qkNorm: null, window: null, softcap: null, scale: byLayer ? scale / (i + 1) : scale },
      rope: null,
      mlp: { intermediate, gated: false, activation: act, bias: true, experts: null },
      norms: { beforeAttention: norm, afterAttention: null, beforeMlp: norm, afterMlp: null },
    });
    return {
      architecture: architectureName(config),
      dims: { hidden, vocab: config.count('vocab_size', bounds.vocab), heads, kvHeads: heads, headDim },
      maxPositions: positions,
      embedding: {
        scale: 1,
        learnedPositions: { offset: 0, count: positions },
        tokenTypes: null,
        tied: config.boolean('tie_word_embeddings', true),
      },
      ropes: [],
      layers: Array.from({ length: config.count('n_layer', bounds.layers) }, layer),
      finalNorm: norm,
      postNorm: false,
      causal: true,
      logits: { softcap: null, scale: 1 },
    };
  },
  aliases: [['transformer.', '']],
  tensors: gpt2Tensors(
    { embed: 'wte.weight', embedPositions: 'wpe.weight', finalNorm: 'ln_f.weight', finalNormBias: 'ln_f.bias', head: 'lm_head.weight' },
    'h.*.',
    { qkv: 'attn.c_attn', attnNorm: 'ln_1', o: 'attn.c_proj', mlpNorm: 'ln_2', up: 'mlp.c_fc', down: 'mlp.c_proj' },
    true,
  ),
  gguf: {
    name: 'gpt2',
    experts: false,
    implied: (header) => ({
      n_embd: header.number('embedding_length'),
      n_head: header.number('attention.head_count'),
      n_layer: header.number('block_count'),
      n_inner: header.number('feed_forward_length'),
      n_positions: header.number('context_length'),
      layer_norm_epsilon: header.number('attention.layer_norm_epsilon', 1e-5),
    }),
    tensors: gpt2Tensors(
      {
        embed: 'token_embd.weight',
        embedPositions: 'position_embd.weight',
        finalNorm: 'output_norm.weight',
        finalNormBias: 'output_norm.bias',
        head: 'output.weight',
      },
      'blk.*.',
      { qkv: 'attn_qkv', attnNorm: 'attn_norm', o: 'attn_output', mlpNorm: 'ffn_norm', up: 'ffn_up', down: 'ffn_down' },
      false,
    ),
  },
};
