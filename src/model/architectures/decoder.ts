/**
 * What most families share: a decoder with RMS norm before each half, rotary embedding, grouped-query attention and a gated MLP
 * (Llama and its kin). A family states its traits; those further away (Gemma, GPT-2, OPT) change or make the layers themselves.
 */
import { startError } from '../../errors.js';
import { bounds, type Config } from '../config.js';
import { ropeSpec, ropeType } from '../rope.js';
import type { ExpertSpec, LayerSpec, ModelSpec, NormSpec } from '../spec.js';
import type { TensorRules } from '../tensors.js';
import type { SpecOptions } from './architecture.js';

export interface DecoderTraits {
  readonly tiedByDefault?: boolean;
  readonly thetaByDefault?: number;
  readonly qkvBias?: boolean;
  readonly outBias?: boolean;
  readonly mlpBias?: boolean;
  readonly qkNorm?: boolean;
  readonly window?: (layer: number) => number | null;
  readonly experts?: (layer: number) => ExpertSpec | null;
}

export const rmsNorm = (eps: number, weightOffset: 0 | 1 = 0): NormSpec => ({ kind: 'rms', eps, weightOffset, bias: false });
export const layerNorm = (eps: number): NormSpec => ({ kind: 'layer', eps, weightOffset: 0, bias: true });

/** As the checkpoint calls itself: for logs. */
export function architectureName(config: Config): string {
  return config.strings('architectures')[0] ?? 'unnamed';
}

/** Sizes that every family states, in the words of most configurations. */
export function decoderDims(config: Config): ModelSpec['dims'] {
  const hidden = config.count('hidden_size', bounds.width);
  const heads = config.count('num_attention_heads', bounds.heads);
  const kvHeads = config.count('num_key_value_heads', bounds.heads, heads);
  if (heads % kvHeads !== 0) throw config.fault('num_key_value_heads', `a divisor of num_attention_heads, ${heads}`);
  if (!config.has('head_dim') && hidden % heads !== 0) throw config.fault('num_attention_heads', `a divisor of hidden_size, ${hidden}`);
  const headDim = config.count('head_dim', bounds.width, hidden / heads);
  return { hidden, vocab: config.count('vocab_size', bounds.vocab), heads, kvHeads, headDim };
}

const activations: Readonly<Record<string, LayerSpec['mlp']['activation']>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  relu: 'relu',
};

export function activation(config: Config, key: string, fallback: string): LayerSpec['mlp']['activation'] {
  const name = config.string(key, fallback);
  if (!Object.hasOwn(activations, name)) throw config.fault(key, `one of ${Object.keys(activations).join(', ')}`);
  return activations[name] as LayerSpec['mlp']['activation'];
}

/** Longest sequence: scaling rules that stretch the context multiply what the configuration says, as vLLM does. */
export function maxPositions(config: Config): number {
  const stated = config.count('max_position_embeddings', bounds.positions);
  const scaling = ropeScaling(config);
  switch (ropeType(scaling)) {
    case 'linear':
      return Math.floor(stated * (scaling?.positive('factor') ?? 1));
    case 'yarn': {
      const original = scaling?.number('original_max_position_embeddings', 0) || stated;
      return Math.floor(original * (scaling?.number('factor', stated / original) ?? 1));
    }
    default:
      return stated;
  }
}

/** `rope_scaling`, or what transformers 5 calls `rope_parameters`. */
export function ropeScaling(config: Config): Config | null {
  return config.object('rope_parameters') ?? config.object('rope_scaling');
}

/** The one table of families whose layers all turn alike. */
export function decoderRope(config: Config, options: SpecOptions, headDim: number, thetaByDefault: number) {
  const scaling = ropeScaling(config);
  const original =
    (config.has('original_max_position_embeddings') ? config : scaling)?.number('original_max_position_embeddings', 0) || null;
  const limit = maxPositions(config);
  return ropeSpec({
    headDim,
    theta: config.positive('rope_theta', scaling?.positive('rope_theta', thetaByDefault) ?? thetaByDefault),
    partialFactor: config.positive('partial_rotary_factor', scaling?.positive('partial_rotary_factor', 1) ?? 1),
    scaling,
    maxPositions: config.count('max_position_embeddings', bounds.positions),
    originalMaxPositions: original,
    servedLen: options.maxModelLen ?? limit,
  });
}

/** The window of a layer; one that covers every position is none. */
export function windowOf(config: Config, key: string, limit: number, fallback: number | null = null): number | null {
  const window = config.numberOrNull(key, fallback);
  if (window === null) return null;
  if (!Number.isInteger(window) || window < 1) throw config.fault(key, 'a whole number above 0, or null');
  return window >= limit ? null : window;
}

/** Which layers slide: `layer_types` where it is given, else the family's own rule. */
export function slidingLayers(config: Config, numLayers: number, rule: (layer: number) => boolean): (layer: number) => boolean {
  if (!config.has('layer_types')) return rule;
  const types = config.strings('layer_types');
  if (types.length !== numLayers) throw config.fault('layer_types', `${numLayers} entries, one a layer`);
  const unknown = types.find((type) => type !== 'sliding_attention' && type !== 'full_attention');
  if (unknown !== undefined)
    throw startError(`${config.where}: layer_types holds ${JSON.stringify(unknown)}; supported are sliding_attention and full_attention`);
  return (layer) => types[layer] === 'sliding_attention';
}

export function decoderSpec(config: Config, options: SpecOptions, traits: DecoderTraits): ModelSpec {
  const dims = decoderDims(config);
  const eps = config.positive('rms_norm_eps', 1e-6);
  const numLayers = config.count('num_hidden_layers', bounds.layers);
  const act = activation(config, 'hidden_act', 'silu');
  const layers = Array.from({ length: numLayers }, (_, layer): LayerSpec => {
    const experts = traits.experts?.(layer) ?? null;
    return {
      attention: {
        qkvBias: traits.qkvBias ?? false,
        outBias: traits.outBias ?? false,
        qkNorm: traits.qkNorm ? rmsNorm(eps) : null,
        window: traits.window?.(layer) ?? null,
        softcap: null,
        scale: 1 / Math.sqrt(dims.headDim),
      },
      rope: 0,
      mlp: {
        intermediate: experts ? 0 : config.count('intermediate_size', bounds.width),
        gated: true,
        activation: act,
        bias: traits.mlpBias ?? false,
        experts,
      },
      norms: { beforeAttention: rmsNorm(eps), afterAttention: null, beforeMlp: rmsNorm(eps), afterMlp: null },
    };
  });
  return {
    architecture: architectureName(config),
    dims,
    maxPositions: maxPositions(config),
    embedding: {
      scale: 1,
      learnedPositions: null,
      tokenTypes: null,
      tied: config.boolean('tie_word_embeddings', traits.tiedByDefault ?? false),
    },
    ropes: [decoderRope(config, options, dims.headDim, traits.thetaByDefault ?? 10_000)],
    layers,
    finalNorm: rmsNorm(eps),
    postNorm: false,
    causal: config.boolean('is_causal', true),
    logits: { softcap: null, scale: 1 },
  };
}

/** Hub names of the Llama kind. */
export const decoderTensors: TensorRules = {
  embed: 'model.embed_tokens.weight',
  head: 'lm_head.weight',
  finalNorm: 'model.norm.weight',
  'layers.*.attnNorm': 'model.layers.*.input_layernorm.weight',
  'layers.*.q': 'model.layers.*.self_attn.q_proj.weight',
  'layers.*.k': 'model.layers.*.self_attn.k_proj.weight',
  'layers.*.v': 'model.layers.*.self_attn.v_proj.weight',
  'layers.*.qBias': 'model.layers.*.self_attn.q_proj.bias',
  'layers.*.kBias': 'model.layers.*.self_attn.k_proj.bias',
  'layers.*.vBias': 'model.layers.*.self_attn.v_proj.bias',
  'layers.*.qNorm': 'model.layers.*.self_attn.q_norm.weight',
  'layers.*.kNorm': 'model.layers.*.self_attn.k_norm.weight',
  'layers.*.o': 'model.layers.*.self_attn.o_proj.weight',
  'layers.*.oBias': 'model.layers.*.self_attn.o_proj.bias',
  'layers.*.mlpNorm': 'model.layers.*.post_attention_layernorm.weight',
  'layers.*.gate': 'model.layers.*.mlp.gate_proj.weight',
  'layers.*.up': 'model.layers.*.mlp.up_proj.weight',
  'layers.*.down': 'model.layers.*.mlp.down_proj.weight',
  'layers.*.gateBias': 'model.layers.*.mlp.gate_proj.bias',
  'layers.*.upBias': 'model.layers.*.mlp.up_proj.bias',
  'layers.*.downBias': 'model.layers.*.mlp.down_proj.bias',
};

/** The names that GGUF gives the same tensors. */
export const ggufTensors: TensorRules = {
  embed: 'token_embd.weight',
  head: 'output.weight',
  finalNorm: 'output_norm.weight',
  'layers.*.attnNorm': 'blk.*.attn_norm.weight',
  'layers.*.q': 'blk.*.attn_q.weight',
  'layers.*.k': 'blk.*.attn_k.weight',
  'layers.*.v': 'blk.*.attn_v.weight',
  'layers.*.qBias': 'blk.*.attn_q.bias',
  'layers.*.kBias': 'blk.*.attn_k.bias',
  'layers.*.vBias': 'blk.*.attn_v.bias',
  'layers.*.qNorm': 'blk.*.attn_q_norm.weight',
  'layers.*.kNorm': 'blk.*.attn_k_norm.weight',
  'layers.*.o': 'blk.*.attn_output.weight',
  'layers.*.oBias': 'blk.*.attn_output.bias',
  'layers.*.mlpNorm': 'blk.*.ffn_norm.weight',
  'layers.*.gate': 'blk.*.ffn_gate.weight',
  'layers.*.up': 'blk.*.ffn_up.weight',
  'layers.*.down': 'blk.*.ffn_down.weight',
  'layers.*.router': 'blk.*.ffn_gate_inp.weight',
  'layers.*.experts.#.gate': [{ name: 'blk.*.ffn_gate_exps.weight', stacked: true }, 'blk.*.ffn_gate.#.weight'],
  'layers.*.experts.#.up': [{ name: 'blk.*.ffn_up_exps.weight', stacked: true }, 'blk.*.ffn_up.#.weight'],
  'layers.*.experts.#.down': [{ name: 'blk.*.ffn_down_exps.weight', stacked: true }, 'blk.*.ffn_down.#.weight'],
};
