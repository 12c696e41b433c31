/**
 * The header of a GGUF file in the words of config.json, so that a family reads both with one function. Keys that every family has are
 * translated here; what a family implies without a key stands in its own file (`GgufFamily.implied`).
 */
import { readSync } from 'node:fs';
import { startError } from '../errors.js';
import type { Architecture } from './architectures/architecture.js';
import { ggufArchitectureOf } from './architectures/index.js';
import type { Checkpoint } from './checkpoint.js';
import { Config } from './config.js';
import type { GgufFile } from './gguf.js';
import { withOpenFile } from './open-file.js';
import type { SentenceFiles } from './pooling.js';
import type { GenerationDefaults } from './spec.js';

/** Our config key -> GGUF key without the architecture's prefix. */
const translated: Readonly<Record<string, string>> = {
  hidden_size: 'embedding_length',
  num_hidden_layers: 'block_count',
  num_attention_heads: 'attention.head_count',
  num_key_value_heads: 'attention.head_count_kv',
  head_dim: 'attention.key_length',
  intermediate_size: 'feed_forward_length',
  moe_intermediate_size: 'expert_feed_forward_length',
  num_local_experts: 'expert_count',
  num_experts_per_tok: 'expert_used_count',
  max_position_embeddings: 'context_length',
  rms_norm_eps: 'attention.layer_norm_rms_epsilon',
  rope_theta: 'rope.freq_base',
  sliding_window: 'attention.sliding_window',
};

/** Keys whose meaning is not in `ModelSpec`: a file that sets one would be computed wrongly. */
const refused = [
  'attention.alibi_bias_max',
  'attention.max_alibi_bias',
  'attention.clamp_kqv',
  'logit_scale',
  'residual_scale',
  'embedding_scale',
  'expert_shared_count',
  'expert_weights_scale',
] as const;

export function configOfGguf(file: GgufFile, checkpoint: Checkpoint): { readonly config: Config; readonly architecture: Architecture } {
  const name = file.metadata.get('general.architecture');
  if (typeof name !== 'string') throw startError(`${file.path} has no general.architecture: not a language model's GGUF file`);
  const prefix = `${name}.`;
  const own = [...file.metadata]
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), plain(key.slice(prefix.length), value)] as const);
  const header = new Config(file.path, Object.fromEntries(own));
  const architecture = ggufArchitectureOf(file.path, name, header.number('expert_count', 0) > 0);
  for (const key of refused) {
    if (header.has(key) && header.number(key) !== 0)
      throw startError(`${file.path}: ${prefix}${key} is ${header.number(key)}, which is not supported`);
  }
  const fields: Record<string, unknown> = {};
  for (const [key, from] of Object.entries(translated)) if (header.has(from)) fields[key] = header.fields[from];
  const heads = header.number('attention.head_count');
  const headDim = header.number('attention.key_length', header.number('embedding_length') / heads);
  if (header.number('attention.value_length', headDim) !== headDim)
    throw startError(`${file.path}: heads of keys and values differ in size, which is not supported`);
  const embedding = checkpoint.tensors.get('token_embd.weight');
  if (!embedding) throw startError(`${file.path}: tensor token_embd.weight is missing`);
  Object.assign(fields, {
    architectures: [name],
    vocab_size: embedding.shape[0],
    tie_word_embeddings: !checkpoint.tensors.has('output.weight'),
    partial_rotary_factor: header.number('rope.dimension_count', headDim) / headDim,
    ...biases(checkpoint),
    ...denseLayers(checkpoint, header),
    ...scaling(file, checkpoint, header),
    ...architecture.gguf?.implied?.(header),
  });
  return { config: new Config(file.path, fields), architecture };
}

/** Lists that hold one value over and over (heads of each layer) become that value; float32 numbers lose their tail: 1e-5, not 9.99…e-6. */
function plain(key: string, value: unknown): unknown {
  if (Array.isArray(value) && /^(attention\.head_count|feed_forward_length)/.test(key) && value.every((v) => v === value[0]))
    return value[0];
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function biases(checkpoint: Checkpoint): Record<string, unknown> {
  const has = (name: string) => checkpoint.tensors.has(name);
  return { attention_bias: has('blk.0.attn_q.bias'), mlp_bias: has('blk.0.ffn_down.bias'), use_sliding_window: true, max_window_layers: 0 };
}

/** Layers without a router are dense. */
function denseLayers(checkpoint: Checkpoint, header: Config): Record<string, unknown> {
  if (header.number('expert_count', 0) === 0) return {};
  const layers = Array.from({ length: Math.min(header.number('block_count'), 1024) }, (_, i) => i);
  return { mlp_only_layers: layers.filter((i) => !checkpoint.tensors.has(`blk.${i}.ffn_gate_inp.weight`)) };
}

/** Scaling of the rotary embedding: by keys, or by tensors of factors (Llama 3, longrope). */
function scaling(file: GgufFile, checkpoint: Checkpoint, header: Config): Record<string, unknown> {
  const factors = (name: string) => readF32(checkpoint, name);
  const original = header.has('rope.scaling.original_context_length')
    ? { original_max_position_embeddings: header.number('rope.scaling.original_context_length') }
    : {};
  const attention = header.has('rope.scaling.attn_factor') ? { attention_factor: header.number('rope.scaling.attn_factor') } : {};
  if (checkpoint.tensors.has('rope_factors_long.weight')) {
    const tables = { long_factor: factors('rope_factors_long.weight'), short_factor: factors('rope_factors_short.weight') };
    return { rope_scaling: { rope_type: 'longrope', ...tables, ...original, ...attention } };
  }
  if (checkpoint.tensors.has('rope_freqs.weight')) return { rope_scaling: { rope_type: 'factors', factors: factors('rope_freqs.weight') } };
  const type = header.string('rope.scaling.type', 'none');
  const factor = header.number('rope.scaling.factor', header.number('rope.scale_linear', 1));
  if (type === 'yarn') return { rope_scaling: { rope_type: 'yarn', factor, ...original, ...yarnKeys(header, factor) } };
  if (type === 'linear' || (type === 'none' && factor !== 1)) return factor === 1 ? {} : { rope_scaling: { rope_type: 'linear', factor } };
  if (type === 'none') return {};
  throw startError(`${file.path}: rope.scaling.type ${JSON.stringify(type)} is not supported`);
}

/** llama.cpp multiplies YaRN's own temperature by attn_factor; config.json's attention_factor replaces it. */
function yarnKeys(header: Config, factor: number): Record<string, unknown> {
  const given = header.number('rope.scaling.yarn_attn_factor', header.number('rope.scaling.attn_factor', 1));
  return {
    attention_factor: given * (factor > 1 ? 0.1 * Math.log(factor) + 1 : 1),
    beta_fast: header.number('rope.scaling.yarn_beta_fast', 32),
    beta_slow: header.number('rope.scaling.yarn_beta_slow', 1),
  };
}

/** Tables of factors have one value for each pair of a head; more is damage. */
const factorsMax = 4096;

function readF32(checkpoint: Checkpoint, name: string): number[] {
  const tensor = checkpoint.tensors.get(name);
  const count = tensor?.shape.reduce((a, b) => a * b, 1) ?? 0;
  const path = checkpoint.files[tensor?.file ?? 0] as string;
  if (tensor?.type !== 'f32' || count > factorsMax)
    throw startError(`${path}: tensor ${name} must hold at most ${factorsMax} values of type f32`);
  const bytes = Buffer.alloc(count * 4);
  withOpenFile(path, (fd) => readSync(fd, bytes, 0, bytes.length, tensor.byteOffset));
  return Array.from({ length: count }, (_, i) => bytes.readFloatLE(i * 4));
}

/** The tokenizer's own ids: generation ends at the end of a text and at the end of a turn. */
export function ggufGeneration(file: GgufFile): GenerationDefaults {
  const id = (name: string) => {
    const value = file.metadata.get(`tokenizer.ggml.${name}_token_id`);
    return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31 ? value : null;
  };
  const eos = [id('eos'), id('eot'), id('eom')].filter((v) => v !== null);
  return { eosTokenIds: [...new Set(eos)], bosTokenId: id('bos'), padTokenId: id('padding') };
}

/** The one template that a file carries, or the first of several; null: none. */
export function ggufChatTemplate(file: GgufFile): string | null {
  const template = file.metadata.get('tokenizer.chat_template');
  if (typeof template === 'string') return template;
  const named = [...file.metadata].find(([key, value]) => key.startsWith('tokenizer.chat_template.') && typeof value === 'string');
  return named ? String(named[1]) : null;
}

/** `pooling_type` of models that were converted to give embeddings (llama.cpp's numbers); null: it has none, or 0. */
export function ggufPooling({ path, metadata }: GgufFile): SentenceFiles | null {
  const key = `${metadata.get('general.architecture')}.pooling_type`;
  const type = Number(metadata.get(key) ?? 0);
  if (type === 0) return null;
  const of = ([null, 'mean', 'first', 'last'] as const)[type];
  if (!of) throw startError(`${path}: ${key} is ${type}; supported are 1 (mean), 2 (cls) and 3 (last)`);
  return { of, normalize: true, layers: [], maxLen: null, lowercase: false };
}
