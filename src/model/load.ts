/**
 * A folder or file -> everything that does not depend on how the model is served: spec, weight map, tokenizer, template, defaults.
 * Only headers and JSON are read; a model of any size is described in milliseconds. `hub.ts` fetches, the ranks read the weights.
 */
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startError } from '../errors.js';
import type { SpecOptions } from './architectures/architecture.js';
import { architectureOf } from './architectures/index.js';
import { chatTemplate, tokenizerSource } from './chat-template.js';
import type { Checkpoint } from './checkpoint.js';
import { Config, readConfig, textConfig } from './config.js';
import { generationDefaults } from './generation.js';
import { type GgufFile, readGgufCheckpoint } from './gguf.js';
import { configOfGguf, ggufChatTemplate, ggufGeneration, ggufPooling } from './gguf-config.js';
import { type PoolingOptions, poolingSpec, sentenceFiles, taskOf } from './pooling.js';
import { onLoadOf, readQuantScheme } from './quantization/checkpoint-config.js';
import { computeTypeOf, isElementType, isQuantised } from './quantization/formats.js';
import { readSafetensorsFolder } from './safetensors.js';
import type { LoadedModel, ModelSpec, PoolingSpec } from './spec.js';
import { mapWeights, type NameAliases, type TensorRules } from './tensors.js';

export interface LoadOptions {
  /** `--dtype`. */
  readonly dtype: string;
  /** `--load-format`; absent: either. */
  readonly format?: 'auto' | 'safetensors' | 'gguf';
  /** `--max-model-len`; null or absent: as long as the model allows. */
  readonly maxModelLen?: number | null;
  /** `--quantization`; null or absent: as the checkpoint is. */
  readonly quantization?: string | null;
  /** `--runner` and the flags beside it; absent: as the model's files say. */
  readonly pooling?: PoolingOptions;
  /** `--tokenizer`: another folder or .gguf file that has the tokenizer and perhaps a chat template; null or absent: the model's own. */
  readonly tokenizerPath?: string | null;
  /** `--hf-overrides`: fields of config.json that win over the file's. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** Reads a Hugging Face folder or a .gguf file. Throws one start error that names the file and what is wrong with it. */
export async function loadModel(path: string, options: LoadOptions): Promise<LoadedModel> {
  const specOptions: SpecOptions = { computeType: computeTypeOf(options.dtype), maxModelLen: options.maxModelLen ?? null };
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw startError(`${path} does not exist`);
  const format = found.isFile() ? 'gguf' : 'safetensors';
  if (![format, 'auto'].includes(options.format ?? 'auto'))
    throw startError(`--load-format ${options.format}: ${path} is in ${format}`, { param: 'load-format' });
  const read = found.isFile() ? loadGguf : loadFolder;
  const model = read(resolve(path), specOptions, options);
  checkLength(model.spec, specOptions.maxModelLen);
  return model;
}

function checkLength(spec: ModelSpec, maxModelLen: number | null): void {
  if (maxModelLen === null || maxModelLen <= spec.maxPositions) return;
  throw startError(`--max-model-len ${maxModelLen} is more than the ${spec.maxPositions} positions that the model was made for`, {
    param: 'max-model-len',
  });
}

function loadFolder(
  folder: string,
  options: SpecOptions,
  { quantization = null, pooling = asFilesSay, overrides, tokenizerPath = null }: LoadOptions,
): LoadedModel {
  const path = join(folder, 'config.json');
  if (!existsSync(path)) throw startError(`${folder} holds no config.json; expected a Hugging Face model folder or a .gguf file`);
  const outer = new Config(path, { ...readConfig(path).fields, ...overrides });
  const architecture = architectureOf(outer);
  const config = textConfig(outer);
  const scheme = readQuantScheme(config);
  const sentence = sentenceFiles(folder);
  const task = taskOf(outer.strings('architectures')[0]!, sentence !== null, pooling);
  const spec = specFor(task, architecture.spec(config, options), sentence?.maxLen ?? null);
  if (task === null && !spec.causal) throw config.fault('is_causal', 'true: what sees its whole input cannot generate');
  const checkpoint = readSafetensorsFolder(folder);
  const { weights, notes } = mapWeights({
    spec,
    checkpoint,
    rules: architecture.tensors,
    aliases: [...(architecture.aliases ?? []), ...bareAliases(checkpoint, architecture.tensors)],
    computeType: options.computeType,
    scheme,
    onLoad: onLoadOf(quantization, scheme, options.computeType),
  });
  return {
    path: folder,
    spec,
    weights,
    computeType: options.computeType,
    ...(tokenizerPath === null ? tokenizerOf(folder) : otherTokenizer(tokenizerPath, () => chatTemplate(folder))),
    generation: generationDefaults(folder, config),
    pooling: task && poolingSpec(task, { spec, config, checkpoint, sentence }, pooling),
    notes,
  };
}

type Wording = Pick<LoadedModel, 'tokenizer' | 'chatTemplate'>;

const tokenizerOf = (folder: string): Wording => ({ tokenizer: tokenizerSource(folder), chatTemplate: chatTemplate(folder) });

/** The tokenizer of `path`, a folder or a .gguf file, with its chat template; where it has none, with the model's own. */
function otherTokenizer(path: string, ownTemplate: () => string | null): Wording {
  const other: Wording = path.endsWith('.gguf') ? ggufTokenizer(readGgufCheckpoint(path).first) : tokenizerOf(path);
  return { ...other, chatTemplate: other.chatTemplate ?? ownTemplate() };
}

const ggufTokenizer = (file: GgufFile): Wording => {
  return { tokenizer: { kind: 'gguf', path: file.path }, chatTemplate: ggufChatTemplate(file) };
};

const asFilesSay: PoolingOptions = { runner: 'auto', convert: 'auto', pooler: null };

/** Of a model that is pooled nobody asks for logits, so that its head is not read; and its authors may have meant shorter inputs. */
function specFor(task: PoolingSpec['task'] | null, spec: ModelSpec, maxLen: number | null): ModelSpec {
  if (task === null) return spec;
  const maxPositions = Math.min(spec.maxPositions, maxLen ?? spec.maxPositions);
  return { ...spec, maxPositions, embedding: { ...spec.embedding, tied: true } };
}

/** Checkpoints that were saved without a head leave out the prefix that the rules of most families have. */
function bareAliases(checkpoint: Checkpoint, rules: TensorRules): NameAliases {
  const prefix = 'model.';
  const isBare = String(rules['embed']).startsWith(prefix) && ![...checkpoint.tensors.keys()].some((name) => name.startsWith(prefix));
  return isBare ? [...['lm_head.', 'score.'].map((name) => [name, name] as const), ['', prefix]] : [];
}

function loadGguf(
  path: string,
  options: SpecOptions,
  { quantization = null, pooling = asFilesSay, overrides = {}, tokenizerPath = null }: LoadOptions,
): LoadedModel {
  if (Object.keys(overrides).length > 0)
    throw startError('--hf-overrides changes config.json, and a GGUF file has none', { param: 'hf-overrides' });
  const { first, checkpoint } = readGgufCheckpoint(path);
  const { config, architecture } = configOfGguf(first, checkpoint);
  const sentence = ggufPooling(first);
  const task = taskOf('ForCausalLM', sentence !== null, pooling);
  if (task === 'classify') throw startError(`${path}: classifiers are read from safetensors only`, { param: 'convert' });
  const spec = specFor(task, architecture.spec(config, options), null);
  const { weights, notes } = mapWeights({
    spec,
    checkpoint,
    rules: architecture.gguf?.tensors ?? {},
    aliases: [],
    computeType: options.computeType,
    scheme: null,
    onLoad: onLoadOf(quantization, quantisedGguf(checkpoint), options.computeType),
  });
  return {
    path,
    spec,
    weights,
    computeType: options.computeType,
    ...(tokenizerPath === null ? ggufTokenizer(first) : otherTokenizer(tokenizerPath, () => ggufChatTemplate(first))),
    generation: ggufGeneration(first),
    pooling: task && poolingSpec(task, { spec, config, checkpoint, sentence }, pooling),
    notes,
  };
}

/** Whether any tensor of a GGUF file is quantised, as `onLoadOf` asks. Its name for `--quantization` is gguf either way. */
function quantisedGguf(checkpoint: Checkpoint): { method: string; summary: string } | null {
  const types = [...new Set([...checkpoint.tensors.values()].map((tensor) => tensor.type))].filter(isElementType).filter(isQuantised);
  return types.length === 0 ? null : { method: 'gguf', summary: `GGUF with ${types.join(', ')}` };
}
