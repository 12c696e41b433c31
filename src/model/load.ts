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
import { readConfig, textConfig } from './config.js';
import { generationDefaults } from './generation.js';
import { readGgufCheckpoint } from './gguf.js';
import { configOfGguf, ggufChatTemplate, ggufGeneration } from './gguf-config.js';
import { onLoadOf, readQuantScheme } from './quantization/checkpoint-config.js';
import { computeTypeOf, isElementType, isQuantised } from './quantization/formats.js';
import { readSafetensorsFolder } from './safetensors.js';
import type { LoadedModel, ModelSpec } from './spec.js';
import { mapWeights } from './tensors.js';

export interface LoadOptions {
  /** `--dtype`. */
  readonly dtype: string;
  /** `--max-model-len`; null or absent: as long as the model allows. */
  readonly maxModelLen?: number | null;
  /** `--quantization`; null or absent: as the checkpoint is. */
  readonly quantization?: string | null;
}

/** Reads a Hugging Face folder or a .gguf file. Throws one start error that names the file and what is wrong with it. */
export async function loadModel(path: string, options: LoadOptions): Promise<LoadedModel> {
  const specOptions: SpecOptions = { computeType: computeTypeOf(options.dtype), maxModelLen: options.maxModelLen ?? null };
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw startError(`${path} does not exist`);
  const read = found.isFile() ? loadGguf : loadFolder;
  const model = read(resolve(path), specOptions, options.quantization ?? null);
  checkLength(model.spec, specOptions.maxModelLen);
  return model;
}

function checkLength(spec: ModelSpec, maxModelLen: number | null): void {
  if (maxModelLen === null || maxModelLen <= spec.maxPositions) return;
  throw startError(`--max-model-len ${maxModelLen} is more than the ${spec.maxPositions} positions that the model was made for`, {
    param: 'max-model-len',
  });
}

function loadFolder(folder: string, options: SpecOptions, quantization: string | null): LoadedModel {
  const path = join(folder, 'config.json');
  if (!existsSync(path)) throw startError(`${folder} holds no config.json; expected a Hugging Face model folder or a .gguf file`);
  const outer = readConfig(path);
  const architecture = architectureOf(outer);
  const config = textConfig(outer);
  const scheme = readQuantScheme(config);
  const spec = architecture.spec(config, options);
  const checkpoint = readSafetensorsFolder(folder);
  const { weights, notes } = mapWeights({
    spec,
    checkpoint,
    rules: architecture.tensors,
    aliases: architecture.aliases ?? [],
    computeType: options.computeType,
    scheme,
    onLoad: onLoadOf(quantization, scheme, options.computeType),
  });
  const tokenizer = tokenizerSource(folder);
  return {
    path: folder,
    spec,
    weights,
    computeType: options.computeType,
    tokenizer,
    chatTemplate: chatTemplate(folder, tokenizer.config),
    generation: generationDefaults(folder, config),
    notes,
  };
}

function loadGguf(path: string, options: SpecOptions, quantization: string | null): LoadedModel {
  const { first, checkpoint } = readGgufCheckpoint(path);
  const { config, architecture } = configOfGguf(first, checkpoint);
  const spec = architecture.spec(config, options);
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
    tokenizer: { kind: 'gguf', path },
    chatTemplate: ggufChatTemplate(first),
    generation: ggufGeneration(first),
    notes,
  };
}

/** Whether any tensor of a GGUF file is quantised, as `onLoadOf` asks. Its name for `--quantization` is gguf either way. */
function quantisedGguf(checkpoint: Checkpoint): { method: string; summary: string } | null {
  const types = [...new Set([...checkpoint.tensors.values()].map((tensor) => tensor.type))].filter(isElementType).filter(isQuantised);
  return types.length === 0 ? null : { method: 'gguf', summary: `GGUF with ${types.join(', ')}` };
}
