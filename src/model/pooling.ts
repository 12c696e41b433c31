/**
 * Whether a model is served for its hidden states in place of tokens, and what is made of them: `--runner`, `--convert` and `--pooler-config`
 * as vLLM means them, then the files of sentence-transformers (modules.json, 1_Pooling/config.json, …), then config.json.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { startError } from '../errors.js';
import type { Checkpoint } from './checkpoint.js';
import { classifierOf } from './classifier.js';
import { bounds, Config, readConfig, readConfigList } from './config.js';
import { readSafetensorsFolder } from './safetensors.js';
import type { DenseLayer, ModelSpec, PoolingSpec } from './spec.js';
import { denseLayer } from './stored-values.js';

/** The flags that decide. */
export interface PoolingOptions {
  readonly runner: 'auto' | 'generate' | 'pooling';
  readonly convert: 'auto' | 'none' | 'embed' | 'classify';
  /** `--pooler-config`; null: none. */
  readonly pooler: Readonly<Record<string, unknown>> | null;
}

/** What a folder of sentence-transformers says. */
export interface SentenceFiles {
  /** null: several kinds of pooling together, or one that is not known here. */
  readonly of: PoolingSpec['of'] | null;
  readonly normalize: boolean;
  readonly layers: readonly DenseLayer[];
  /** Longest input in tokens; null: not stated. */
  readonly maxLen: number | null;
  readonly lowercase: boolean;
}

const classifies = /ForSequenceClassification$/;
const generates = /(ForCausalLM|ForConditionalGeneration|LMHeadModel)$/;

/** The task that the model is served for; null: to generate. `sentence`: whether it is a folder of sentence-transformers with pooling. */
export function taskOf(architecture: string, sentence: boolean, { runner, convert }: PoolingOptions): PoolingSpec['task'] | null {
  const own = classifies.test(architecture) ? 'classify' : sentence || !generates.test(architecture) ? 'embed' : null;
  if (runner === 'generate') {
    if (convert === 'embed' || convert === 'classify')
      throw startError(`--convert ${convert} is of no use with --runner generate`, { param: 'convert' });
    if (!generates.test(architecture))
      throw startError(`--runner generate: ${architecture} has no head to generate with`, { param: 'runner' });
    return null;
  }
  if (convert === 'embed' || convert === 'classify') return convert;
  if (convert === 'none' && runner === 'pooling' && own === null)
    throw startError(`--convert none: ${architecture} generates; --convert embed makes an embedding model of it`, { param: 'convert' });
  return runner === 'pooling' ? (own ?? 'embed') : own;
}

const moduleKind = (type: string) => type.split('.').at(-1);

/** null: the folder is not one of sentence-transformers. */
export function sentenceFiles(folder: string): SentenceFiles | null {
  const path = join(folder, 'modules.json');
  if (!existsSync(path)) return null;
  const own = join(folder, 'sentence_bert_config.json');
  const limits = existsSync(own) ? readConfig(own) : null;
  let of: PoolingSpec['of'] | null = null;
  let normalize = false;
  let pools = false;
  const layers: DenseLayer[] = [];
  for (const module of readConfigList(path)) {
    const name = module.string('path');
    if (!/^[\w-]*$/.test(name)) throw module.fault('path', 'the name of a folder beside modules.json');
    const place = join(folder, name);
    switch (moduleKind(module.string('type'))) {
      case 'Transformer':
        break;
      case 'Pooling':
        pools = true;
        of = poolingMode(readConfig(join(place, 'config.json')));
        break;
      case 'Dense':
        layers.push(denseModule(place));
        break;
      case 'Normalize':
        normalize = true;
        break;
      default:
        throw module.fault('type', 'Transformer, Pooling, Dense or Normalize');
    }
  }
  if (!pools) return null;
  return {
    of,
    normalize,
    layers,
    maxLen: limits?.has('max_seq_length') ? limits.count('max_seq_length', bounds.positions) : null,
    lowercase: limits?.boolean('do_lower_case', false) ?? false,
  };
}

const modes: Readonly<Record<string, PoolingSpec['of']>> = { cls: 'first', mean: 'mean', lasttoken: 'last' };

/** Older files have a switch for each mode, newer ones a name. */
function poolingMode(config: Config): PoolingSpec['of'] | null {
  if (config.has('pooling_mode')) return modes[config.string('pooling_mode')] ?? null;
  const on = Object.keys(config.fields).filter((key) => key.startsWith('pooling_mode_') && config.fields[key] === true);
  return on.length === 1 ? (modes[on[0]!.slice('pooling_mode_'.length).replace(/_(token|tokens)$/, '')] ?? null) : null;
}

function denseModule(folder: string): DenseLayer {
  const config = readConfig(join(folder, 'config.json'));
  const activations: Readonly<Record<string, DenseLayer['activation']>> = { Identity: 'none', Tanh: 'tanh' };
  const activation = activations[moduleKind(config.string('activation_function', 'Tanh'))!];
  if (activation === undefined) throw config.fault('activation_function', 'Identity or Tanh');
  const layer = denseLayer(readSafetensorsFolder(folder), 'linear', activation);
  if (layer === null) throw startError(`${folder} holds no linear.weight`);
  return layer;
}

const poolerKinds: Readonly<Record<string, PoolingSpec['of']>> = { CLS: 'first', LAST: 'last', MEAN: 'mean' };
const poolerKeys = ['pooling_type', 'seq_pooling_type', 'use_activation'];

/** What `--pooler-config` says of a key; a key that has no meaning here is refused. */
function checkPooler(pooler: Config): void {
  for (const key of Object.keys(pooler.fields)) {
    if (!poolerKeys.includes(key))
      throw startError(`--pooler-config: ${key} is not supported; supported are ${poolerKeys.join(', ')}`, { param: 'pooler-config' });
  }
}

/** `checkpoint`, `config`: of the model. `spec` tells whether a token sees those behind it. Throws a start error for what is not supported. */
export function poolingSpec(
  task: PoolingSpec['task'],
  { spec, config, checkpoint, sentence }: { spec: ModelSpec; config: Config; checkpoint: Checkpoint; sentence: SentenceFiles | null },
  options: PoolingOptions,
): PoolingSpec {
  const pooler = new Config('--pooler-config', options.pooler ?? {});
  checkPooler(pooler);
  const named = pooler.string('pooling_type', pooler.string('seq_pooling_type', ''));
  if (named !== '' && !Object.hasOwn(poolerKinds, named)) throw pooler.fault('pooling_type', Object.keys(poolerKinds).join(', '));
  if (named === '' && sentence !== null && sentence.of === null)
    throw startError(`${config.where}: its kind of pooling is not supported; supported are one of mean, cls and lasttoken`);
  const of = poolerKinds[named] ?? sentence?.of ?? (spec.causal ? 'last' : 'first');
  const { hidden } = spec.dims;
  const common = { of, lowercase: sentence?.lowercase ?? false };
  if (task === 'embed') {
    const normalize = pooler.boolean('use_activation', sentence?.normalize ?? true);
    const layers = sentence?.layers ?? [];
    const width = outputWidth(config, hidden, layers);
    return {
      ...common,
      task,
      layers,
      width,
      activation: normalize ? 'normalize' : 'none',
      dimensions: matryoshka(config),
      fromTokens: null,
      labels: [],
    };
  }
  const classifier = classifierOf(config, checkpoint);
  outputWidth(config, hidden, classifier.layers);
  return {
    ...common,
    task,
    ...classifier,
    width: classifier.labels.length,
    activation: pooler.boolean('use_activation', true) ? classifier.activation : 'none',
    dimensions: null,
  };
}

function outputWidth({ where }: Config, hidden: number, layers: readonly DenseLayer[]): number {
  let width = hidden;
  for (const { weight, outputs } of layers) {
    if (weight.length !== outputs * width)
      throw startError(`${where}: a layer behind pooling has ${weight.length / outputs} inputs, and ${width} values come to it`);
    width = outputs;
  }
  return width;
}

/** `matryoshka_dimensions` or `is_matryoshka` of config.json. */
function matryoshka(config: Config): PoolingSpec['dimensions'] {
  if (config.has('matryoshka_dimensions')) return config.numbers('matryoshka_dimensions');
  return config.boolean('is_matryoshka', false) ? 'any' : null;
}
