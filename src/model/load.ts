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
import { readConfig, textConfig } from './config.js';
import { generationDefaults } from './generation.js';
import { readGgufCheckpoint } from './gguf.js';
import { configOfGguf, ggufChatTemplate, ggufGeneration } from './gguf-config.js';
import { readQuantScheme } from './quantization/checkpoint-config.js';
import { computeTypeOf } from './quantization/formats.js';
import { readSafetensorsFolder } from './safetensors.js';
import type { LoadedModel, ModelSpec } from './spec.js';
import { mapWeights } from './tensors.js';

export interface LoadOptions {
  /** `--dtype`. */
  readonly dtype: string;
  /** `--max-model-len`; null or absent: as long as the model allows. */
  readonly maxModelLen?: number | null;
}

/** Reads a Hugging Face folder or a .gguf file. Throws one start error that names the file and what is wrong with it. */
export async function loadModel(path: string, options: LoadOptions): Promise<LoadedModel> {
  const specOptions: SpecOptions = { computeType: computeTypeOf(options.dtype), maxModelLen: options.maxModelLen ?? null };
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw startError(`${path} does not exist`);
  const model = found.isFile() ? loadGguf(resolve(path), specOptions) : loadFolder(resolve(path), specOptions);
  checkLength(model.spec, specOptions.maxModelLen);
  return model;
}

function checkLength(spec: ModelSpec, maxModelLen: number | null): void {
  if (maxModelLen === null || maxModelLen <= spec.maxPositions) return;
  throw startError(`--max-model-len ${maxModelLen} is more than the ${spec.maxPositions} positions that the model was made for`, {
    param: 'max-model-len',
  });
}

function loadFolder(folder: string, options: SpecOptions): LoadedModel {
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

function loadGguf(path: string, options: SpecOptions): LoadedModel {
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
