/**
 * The models that engines are compared on: where their files lie, how the missing ones are made, and what one token costs, as the bytes
 * and operations that no engine can do without.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readGguf } from '../../src/model/gguf.js';
import { elementLayouts, isElementType } from '../../src/model/quantization/formats.js';

export const models = {
  '135M': { file: 'smollm2-135m', title: 'SmolLM2-135M-Instruct' },
  '0.5B': { file: 'qwen-0.5b', title: 'the shape of Qwen2.5-0.5B with random weights' },
} as const;
export type ModelName = keyof typeof models;

export const formats = ['bf16', 'Q8_0', 'Q4_0', 'Q4_1'] as const;
export type Format = (typeof formats)[number];

/** FOLDER/smollm2-135m-q8_0.gguf; made of the bf16 file by llama-quantize where it is missing. Throws when that is missing too. */
export function ggufOf(folder: string, model: ModelName, format: Format, llamaBin: string): string {
  const path = (name: string) => join(folder, `${models[model].file}-${name.toLowerCase()}.gguf`);
  if (existsSync(path(format))) return path(format);
  if (!existsSync(path('bf16'))) throw new Error(`${path('bf16')} is missing; see the top of bench/peers/compare.ts`);
  const quantize = join(llamaBin, 'llama-quantize');
  const { status, error, stderr } = spawnSync(quantize, [path('bf16'), path(format), format], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${quantize} could not make ${path(format)}: ${error?.message ?? stderr.slice(-400)}`);
  return path(format);
}

/** The Hugging Face folder of the same weights in bf16. */
export const folderOf = (folder: string, model: ModelName): string => join(folder, models[model].file);

/** What a step has to read and to multiply; tied embeddings, as both models have them, count as the head. */
export interface ModelCost {
  readonly parameters: number;
  readonly weightBytes: number;
  /** Multiply-adds of a token in the layers, and in the head where the token is sampled from. */
  readonly layerProducts: number;
  readonly headProducts: number;
  /** Of one position, all layers: bytes of K and V in 16 bits, multiply-adds of a query with them. */
  readonly kvBytes: number;
  readonly attentionProducts: number;
}

export function costOf(ggufPath: string): ModelCost {
  const { metadata, tensors } = readGguf(ggufPath, 0, 0);
  const name = String(metadata.get('general.architecture'));
  const number = (key: string) => Number(metadata.get(`${name}.${key}`));
  const [layers, heads, kvHeads] = [number('block_count'), number('attention.head_count'), number('attention.head_count_kv')];
  const headDim = number('embedding_length') / heads;
  const cost = { parameters: 0, weightBytes: 0, layerProducts: 0, headProducts: 0 };
  for (const tensor of tensors) {
    if (!isElementType(tensor.type)) throw new Error(`${ggufPath}: ${tensor.name} is of type ${tensor.type}`);
    const { blockValues, blockBytes } = elementLayouts[tensor.type];
    const count = tensor.shape.reduce((product, size) => product * size, 1);
    cost.parameters += count;
    cost.weightBytes += (count / blockValues) * blockBytes;
    if (tensor.name === 'token_embd.weight') cost.headProducts += count;
    else if (tensor.shape.length === 2) cost.layerProducts += count;
  }
  return { ...cost, kvBytes: layers * kvHeads * headDim * 2 * 2, attentionProducts: layers * heads * headDim * 2 };
}
