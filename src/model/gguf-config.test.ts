import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checkpoint } from './checkpoint.js';
import type { GgufFile, GgufValue } from './gguf.js';
import { configOfGguf, ggufChatTemplate, ggufGeneration, ggufPooling } from './gguf-config.js';

const path = '/m/model.gguf';
function fileOf(metadata: Readonly<Record<string, GgufValue>>): GgufFile {
  return { path, metadata: new Map(Object.entries(metadata)), tensors: [] };
}
function checkpointOf(...names: string[]): Checkpoint {
  const shape = (name: string) => (name === 'token_embd.weight' ? [512, 64] : [64]);
  return {
    files: [path],
    tensors: new Map(names.map((name) => [name, { name, file: 0, byteOffset: 0, type: 'f32', shape: shape(name) }])),
  };
}
const sizes = {
  context_length: 512,
  embedding_length: 64,
  block_count: 2,
  feed_forward_length: 96,
  'attention.head_count': 4,
  'attention.head_count_kv': 2,
  'attention.layer_norm_rms_epsilon': Math.fround(1e-5),
};
function header(architecture: string, keys: Readonly<Record<string, GgufValue>> = {}): Record<string, GgufValue> {
  const own = Object.entries({ ...sizes, ...keys }).map(([key, value]) => [`${architecture}.${key}`, value]);
  return { 'general.architecture': architecture, ...(Object.fromEntries(own) as Record<string, GgufValue>) };
}
function spec(architecture: string, keys: Readonly<Record<string, GgufValue>> = {}, ...tensors: string[]) {
  const { config, architecture: family } = configOfGguf(fileOf(header(architecture, keys)), checkpointOf('token_embd.weight', ...tensors));
  return family.spec(config, { computeType: 'float32', maxModelLen: null });
}

test('the keys that every family has', () => {
  const found = spec('llama', { 'rope.freq_base': 500_000, 'attention.sliding_window': 8, 'rope.dimension_count': 8 });
  assert.deepEqual(found.dims, { hidden: 64, vocab: 512, heads: 4, kvHeads: 2, headDim: 16 });
  assert.equal(found.architecture, 'llama');
  assert.equal(found.embedding.tied, true);
  assert.equal(found.finalNorm.eps, 1e-5); // and not 9.999999747378752e-6
  assert.equal(found.ropes[0]?.rotaryDim, 8);
  assert.equal(found.layers[0]?.attention.window, 8);
  assert.equal(spec('llama', {}, 'output.weight').embedding.tied, false);
  assert.equal(spec('llama', {}, 'blk.0.attn_q.bias').layers[0]?.attention.qkvBias, true);
});

test('lists of one value a layer, when all are equal', () => {
  assert.equal(spec('llama', { 'attention.head_count_kv': [2, 2] }).dims.kvHeads, 2);
  assert.throws(() => spec('llama', { 'attention.head_count_kv': [2, 1] }), /num_key_value_heads is \[2,1\]; expected a number/);
});

test('experts: Mixtral under the name llama, dense layers by their tensors', () => {
  const experts = { expert_count: 8, expert_used_count: 2 };
  const mixtral = spec('llama', experts, 'blk.0.ffn_gate_inp.weight', 'blk.1.ffn_gate_inp.weight');
  assert.deepEqual(mixtral.layers[0]?.mlp.experts, { count: 8, topK: 2, intermediate: 96, normalizeTopK: true });
  const qwen = spec('qwen3moe', { ...experts, expert_feed_forward_length: 48 }, 'blk.1.ffn_gate_inp.weight');
  assert.deepEqual(
    qwen.layers.map((layer) => layer.mlp.experts?.intermediate ?? 0),
    [0, 48],
  );
});

test('Gemma: the scale of attention by key, by head, or by width for the largest', () => {
  const gemma = (keys: Readonly<Record<string, GgufValue>>) =>
    spec('gemma2', { 'attention.key_length': 32, ...keys }).layers[0]?.attention.scale ?? 0;
  assert.equal(gemma({}), 1 / Math.sqrt(32));
  assert.equal(gemma({ block_count: 46 }), 1 / Math.sqrt(16));
  assert.ok(Math.abs(gemma({ 'attention.scale': 0.125 }) - 0.125) < 1e-12);
  const windows = (pattern: GgufValue) =>
    spec('gemma3', { 'attention.sliding_window': 8, 'attention.sliding_window_pattern': pattern }).layers.map(
      (layer) => layer.attention.window,
    );
  assert.deepEqual(windows(2), [8, null]);
  assert.deepEqual(windows([false, true]), [null, 8]);
});

test('scaling of the rotary embedding', () => {
  const first = (keys: Readonly<Record<string, GgufValue>>) => spec('qwen2', keys).ropes[0];
  assert.equal(first({ 'rope.scaling.type': 'linear', 'rope.scaling.factor': 4 })?.inverseFrequencies[0], 0.25);
  assert.equal(first({ 'rope.scale_linear': 4 })?.inverseFrequencies[0], 0.25);
  const yarn = { 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4, 'rope.scaling.original_context_length': 128 };
  assert.equal(first(yarn)?.attentionFactor, 0.1 * Math.log(4) + 1);
  assert.equal(first({ ...yarn, 'rope.scaling.attn_factor': 0.5 })?.attentionFactor, 0.5 * (0.1 * Math.log(4) + 1));
  assert.equal(spec('qwen2', yarn).maxPositions, 512);
  assert.throws(() => first({ 'rope.scaling.type': 'spiral' }), /rope.scaling.type "spiral" is not supported/);
});

test('what cannot be honoured is refused by name', () => {
  const refused = (metadata: Record<string, GgufValue>, message: RegExp) =>
    assert.throws(() => configOfGguf(fileOf(metadata), checkpointOf('token_embd.weight')), { code: 'start', message });
  refused({}, /^\/m\/model.gguf has no general.architecture/);
  refused(
    header('mamba'),
    /general.architecture "mamba" is not supported; supported are llama, qwen2, qwen3, gemma2, gemma3, phi3, gpt2, qwen3moe/,
  );
  refused(header('qwen2', { expert_count: 4 }), /"qwen2" with experts is not supported/);
  refused(header('llama', { logit_scale: 0.5 }), /llama.logit_scale is 0.5, which is not supported/);
  refused(header('llama', { 'attention.value_length': 32 }), /heads of keys and values differ in size/);
  assert.throws(() => configOfGguf(fileOf(header('llama')), checkpointOf()), /tensor token_embd.weight is missing/);
});

test('ends of generation and the template', () => {
  const file = fileOf({
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.eot_token_id': 7,
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.padding_token_id': 2 ** 32,
  });
  assert.deepEqual(ggufGeneration(file), { eosTokenIds: [2, 7], bosTokenId: 1, padTokenId: null });
  assert.equal(ggufChatTemplate(file), null);
  assert.equal(ggufChatTemplate(fileOf({ 'tokenizer.chat_template': 'x', 'tokenizer.chat_template.tool_use': 'y' })), 'x');
});

test('files that were converted to give embeddings say how', () => {
  const poolingOf = (type: number) => ggufPooling(fileOf(header('qwen3', { pooling_type: type })));
  assert.deepEqual(
    [1, 2, 3].map((type) => poolingOf(type)?.of),
    ['mean', 'first', 'last'],
  );
  assert.equal(poolingOf(0), null);
  assert.equal(ggufPooling(fileOf(header('qwen3'))), null);
  assert.throws(() => poolingOf(4), /qwen3.pooling_type is 4; supported are/);
});
