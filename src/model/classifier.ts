/**
 * What stands behind the pooled hidden state of a sequence classifier: its layers, labels and activation, from config.json and the checkpoint.
 * A language model that judges by the likelihood of words (Qwen3-Reranker) is a classifier too, made of its head as vLLM makes it.
 */
import { startError } from '../errors.js';
import type { Checkpoint } from './checkpoint.js';
import type { Config } from './config.js';
import type { DenseLayer, PoolingSpec } from './spec.js';
import { denseLayer, storedMatrix } from './stored-values.js';

export type Classifier = Pick<PoolingSpec, 'layers' | 'activation' | 'fromTokens' | 'labels'>;

/** Layers by the names that families give them, tried in this order. */
const layerNames: readonly (readonly (readonly [name: string, activation: DenseLayer['activation']])[])[] = [
  [['score', 'none']], // decoders
  [
    ['classifier.dense', 'tanh'],
    ['classifier.out_proj', 'none'],
  ], // RoBERTa
  [
    ['bert.pooler.dense', 'tanh'],
    ['classifier', 'none'],
  ], // BERT
];

export function classifierOf(config: Config, checkpoint: Checkpoint): Classifier {
  const fromTokens = tokenClassifier(config, checkpoint);
  const layers = fromTokens === null ? classifierLayers(config, checkpoint) : [];
  const count = fromTokens === null ? layers.at(-1)!.outputs : fromTokens.difference ? 1 : fromTokens.tokens.length;
  return { layers, fromTokens, activation: activationOf(config, count), labels: labelsOf(config, count) };
}

function classifierLayers(config: Config, checkpoint: Checkpoint): DenseLayer[] {
  for (const names of layerNames) {
    const found = names.map(([name, activation]) => denseLayer(checkpoint, name, activation));
    if (found.every((layer) => layer !== null)) return found as DenseLayer[];
  }
  const known = layerNames.map((names) => names.map(([name]) => `${name}.weight`).join(' and ')).join('; ');
  throw startError(
    `${config.where}: the checkpoint has no classifier that is known here (${known}); --hf-overrides can name one by classifier_from_token`,
  );
}

/** `classifier_from_token`: words whose logits are the scores. */
function tokenClassifier(config: Config, checkpoint: Checkpoint): PoolingSpec['fromTokens'] {
  if (!config.has('classifier_from_token')) return null;
  const tokens = config.strings('classifier_from_token');
  const original = config.boolean('is_original_qwen3_reranker', false);
  const method = config.string('method', original ? 'from_2_way_softmax' : 'no_post_processing');
  if (method !== 'from_2_way_softmax' && method !== 'no_post_processing')
    throw config.fault('method', 'from_2_way_softmax or no_post_processing');
  const difference = method === 'from_2_way_softmax';
  if (tokens.length === 0 || (difference && tokens.length !== 2))
    throw config.fault('classifier_from_token', difference ? 'two tokens' : 'tokens');
  const names = ['lm_head.weight', 'model.embed_tokens.weight', 'embed_tokens.weight'];
  for (const name of names) {
    const head = storedMatrix(checkpoint, name);
    if (head !== null) return { tokens, difference, head };
  }
  throw startError(`${config.where}: classifier_from_token needs the head as floats, and the checkpoint has none of ${names.join(', ')}`);
}

/** As transformers and sentence-transformers state it; else one score is a probability and several are a distribution. */
function activationOf(config: Config, count: number): PoolingSpec['activation'] {
  const stated =
    config.object('sentence_transformers')?.string('activation_fn', '') || config.string('sbert_ce_default_activation_function', '');
  switch (stated.split('.').at(-1)) {
    case 'Identity':
      return 'none';
    case 'Sigmoid':
      return 'sigmoid';
  }
  switch (config.string('problem_type', '')) {
    case 'regression':
      return 'none';
    case 'single_label_classification':
      return 'softmax';
    case 'multi_label_classification':
      return 'sigmoid';
  }
  return count === 1 ? 'sigmoid' : 'softmax';
}

function labelsOf(config: Config, count: number): string[] {
  const names = config.object('id2label')?.fields ?? {};
  return Array.from({ length: count }, (_, i) => (typeof names[i] === 'string' ? (names[i] as string) : `LABEL_${i}`));
}
