/**
 * Gemma 3, its text part: norms on q and k, no soft caps, most layers slide and turn by a base of their own.
 * Defaults are those of transformers' Gemma3TextConfig, which the hub's configurations lean on.
 */
import { bounds, Config } from '../config.js';
import { ropeSpec } from '../rope.js';
import type { Architecture } from './architecture.js';
import { maxPositions, slidingLayers, windowOf } from './decoder.js';
import { gemmaGgufTensors, gemmaSpec, gemmaTensors, impliedScalar } from './gemma2.js';

const defaults = {
  vocab_size: 262_208,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131_072,
  sliding_window: 4096,
};

/** Every n-th layer sees everything. */
const patternByDefault = 6;

/** A period, or true for every layer that slides. */
function slidingPattern(header: Config): Readonly<Record<string, unknown>> {
  const pattern = header.fields['attention.sliding_window_pattern'];
  if (!Array.isArray(pattern)) return { sliding_window_pattern: header.number('attention.sliding_window_pattern', patternByDefault) };
  return { layer_types: pattern.map((slides) => (slides ? 'sliding_attention' : 'full_attention')) };
}

export const gemma3: Architecture = {
  names: ['Gemma3ForCausalLM', 'Gemma3ForConditionalGeneration', 'Gemma3TextModel'],
  spec: (given, options) => {
    const { rope_scaling, rope_parameters, ...rest } = given.fields;
    const config = new Config(given.where, { ...defaults, ...rest });
    const base = gemmaSpec(config, options, {
      qkNorm: true,
      softcap: config.numberOrNull('attn_logit_softcapping', null),
    });
    const limit = maxPositions(config);
    // EmbeddingGemma: tokens see each other, in sliding layers those of half the window on each side (transformers, Gemma3TextConfig).
    const seesAll = config.boolean('use_bidirectional_attention', false);
    const stated = windowOf(config, 'sliding_window', limit);
    const window = seesAll && stated !== null ? Math.floor(stated / 2) + 1 : stated;
    const pattern = config.count('sliding_window_pattern', bounds.layers, config.number('_sliding_window_pattern', patternByDefault));
    const slides = slidingLayers(config, base.layers.length, (layer) => (layer + 1) % pattern !== 0);
    const parameters = given.object('rope_parameters');
    const global = parameters?.object('full_attention') ?? given.object('rope_scaling');
    const local = parameters?.object('sliding_attention') ?? null;
    const rope = (theta: number, scaling: Config | null) =>
      ropeSpec({
        headDim: base.dims.headDim,
        theta: scaling?.positive('rope_theta', theta) ?? theta,
        partialFactor: 1,
        scaling,
        maxPositions: limit,
        originalMaxPositions: null,
        servedLen: options.maxModelLen ?? limit,
      });
    return {
      ...base,
      causal: base.causal && !seesAll,
      ropes: [rope(config.positive('rope_theta', 1_000_000), global), rope(config.positive('rope_local_base_freq', 10_000), local)],
      layers: base.layers.map((of, i) => ({
        ...of,
        rope: slides(i) ? 1 : 0,
        attention: { ...of.attention, window: slides(i) ? window : null },
      })),
      logits: { softcap: config.numberOrNull('final_logit_softcapping', null), scale: 1 },
    };
  },
  tensors: gemmaTensors,
  aliases: [
    ['language_model.', ''],
    ['model.language_model.', 'model.'],
  ],
  gguf: {
    name: 'gemma3',
    experts: false,
    implied: (header) => ({
      sliding_window: header.number('attention.sliding_window', 1024),
      ...slidingPattern(header),
      rope_local_base_freq: header.number('rope.freq_base_swa', 10_000),
      query_pre_attn_scalar: impliedScalar(header, 62),
    }),
    tensors: gemmaGgufTensors,
  },
};
