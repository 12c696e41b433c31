/**
 * BERT and RoBERTa: encoders. All tokens see each other; learned positions and token types; a layer norm behind the embedding and behind each
 * half of a layer, which is written here as the norm before what follows it (`ModelSpec.postNorm`). They give hidden states and no tokens.
 */
import { bounds, type Config } from '../config.js';
import type { LayerSpec, ModelSpec } from '../spec.js';
import type { TensorRules } from '../tensors.js';
import type { Architecture } from './architecture.js';
import { activation, architectureName, decoderDims, layerNorm } from './decoder.js';

/** `offset`: rows of the position table that no position uses. */
function encoderSpec(config: Config, offset: number): ModelSpec {
  if (config.string('position_embedding_type', 'absolute') !== 'absolute') throw config.fault('position_embedding_type', 'absolute');
  if (config.boolean('is_decoder', false)) throw config.fault('is_decoder', 'false: this family is served as an encoder');
  const dims = decoderDims(config);
  const norm = layerNorm(config.positive('layer_norm_eps', 1e-12));
  const positions = config.count('max_position_embeddings', bounds.positions);
  if (positions <= offset) throw config.fault('max_position_embeddings', `more than the ${offset} rows that no position uses`);
  const layer: LayerSpec = {
    attention: { qkvBias: true, outBias: true, qkNorm: null, window: null, softcap: null, scale: 1 / Math.sqrt(dims.headDim) },
    rope: null,
    mlp: {
      intermediate: config.count('intermediate_size', bounds.width),
      gated: false,
      activation: activation(config, 'hidden_act', 'gelu'),
      bias: true,
      experts: null,
    },
    norms: { beforeAttention: norm, afterAttention: null, beforeMlp: norm, afterMlp: null },
  };
  return {
    architecture: architectureName(config),
    dims,
    maxPositions: positions - offset,
    embedding: {
      scale: 1,
      learnedPositions: { offset, count: positions },
      tokenTypes: config.count('type_vocab_size', bounds.width, 2),
      tied: true,
    },
    ropes: [],
    layers: Array.from({ length: config.count('num_hidden_layers', bounds.layers) }, () => layer),
    finalNorm: norm,
    postNorm: true,
    causal: false,
    logits: { softcap: null, scale: 1 },
  };
}

/** Weight and bias. */
const pair = (part: string, name: string): [string, string][] => [
  [part, `${name}.weight`],
  [`${part}Bias`, `${name}.bias`],
];

const tensors: TensorRules = Object.fromEntries([
  ['embed', 'embeddings.word_embeddings.weight'],
  ['embedPositions', 'embeddings.position_embeddings.weight'],
  ['embedTypes', 'embeddings.token_type_embeddings.weight'],
  ...pair('layers.0.attnNorm', 'embeddings.LayerNorm'),
  ...pair('layers.*.attnNorm', 'encoder.layer.*-1.output.LayerNorm'),
  ...pair('layers.*.q', 'encoder.layer.*.attention.self.query'),
  ...pair('layers.*.k', 'encoder.layer.*.attention.self.key'),
  ...pair('layers.*.v', 'encoder.layer.*.attention.self.value'),
  ...pair('layers.*.o', 'encoder.layer.*.attention.output.dense'),
  ...pair('layers.*.mlpNorm', 'encoder.layer.*.attention.output.LayerNorm'),
  ...pair('layers.*.up', 'encoder.layer.*.intermediate.dense'),
  ...pair('layers.*.down', 'encoder.layer.*.output.dense'),
  ...pair('finalNorm', 'encoder.layer.*-1.output.LayerNorm'),
]);

export const bert: Architecture = {
  names: ['BertModel'],
  spec: (config) => encoderSpec(config, 0),
  aliases: [['bert.', '']],
  tensors,
};

/** Its positions begin behind the padding token's id. */
export const roberta: Architecture = {
  names: ['RobertaModel', 'XLMRobertaModel'],
  spec: (config) => encoderSpec(config, config.number('pad_token_id', 1) + 1),
  aliases: [['roberta.', '']],
  tensors,
};
