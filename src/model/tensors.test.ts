import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Architecture } from './architectures/architecture.js';
import { gpt2 } from './architectures/gpt2.js';
import { llama } from './architectures/llama.js';
import { mixtral } from './architectures/mixtral.js';
import { phi3 } from './architectures/phi3.js';
import type { Checkpoint, StoredTensor } from './checkpoint.js';
import { Config } from './config.js';
import type { ComputeType, WeightTensor } from './spec.js';
import { mapWeights, type TensorRules } from './tensors.js';

type Shapes = Readonly<Record<string, readonly [type: string, ...shape: number[]]>>;

function checkpointOf(shapes: Shapes): Checkpoint {
  const tensors = Object.entries(shapes).map(
    ([name, [type, ...shape]], i): StoredTensor => ({ name, file: 0, byteOffset: 1000 * i, type, shape }),
  );
  return { files: ['/m/model.safetensors'], tensors: new Map(tensors.map((t) => [t.name, t])) };
}
function map(
  architecture: Architecture,
  fields: object,
  shapes: Shapes,
  computeType: ComputeType = 'bfloat16',
  rules: TensorRules = architecture.tensors,
) {
  const config = new Config('/m/config.json', { architectures: architecture.names, ...fields });
  const spec = architecture.spec(config, { computeType, maxModelLen: null });
  const { weights, notes } = mapWeights({
    spec,
    checkpoint: checkpointOf(shapes),
    rules,
    aliases: architecture.aliases ?? [],
    computeType,
    scheme: null,
    onLoad: null,
  });
  return { tensors: new Map(weights.tensors.map((t) => [t.name, t])), notes };
}

const llamaFields = {
  hidden_size: 64,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 1,
  intermediate_size: 96,
  vocab_size: 10,
  max_position_embeddings: 128,
};
const layer = 'model.layers.0.';
const llamaShapes: Shapes = {
  'model.embed_tokens.weight': ['bf16', 10, 64],
  'lm_head.weight': ['bf16', 10, 64],
  'model.norm.weight': ['f32', 64],
  [`${layer}input_layernorm.weight`]: ['bf16', 64],
  [`${layer}post_attention_layernorm.weight`]: ['bf16', 64],
  [`${layer}self_attn.q_proj.weight`]: ['bf16', 64, 64],
  [`${layer}self_attn.k_proj.weight`]: ['bf16', 32, 64],
  [`${layer}self_attn.v_proj.weight`]: ['f16', 32, 64],
  [`${layer}self_attn.o_proj.weight`]: ['bf16', 64, 64],
  [`${layer}mlp.gate_proj.weight`]: ['bf16', 96, 64],
  [`${layer}mlp.up_proj.weight`]: ['bf16', 96, 64],
  [`${layer}mlp.down_proj.weight`]: ['bf16', 64, 96],
};
const without = (name: string) => Object.fromEntries(Object.entries(llamaShapes).filter(([key]) => key !== name));

test('matrices take the compute type, vectors are float32', () => {
  const { tensors, notes } = map(llama, llamaFields, llamaShapes);
  assert.equal(tensors.size, 12);
  assert.deepEqual([tensors.get('layers.0.v')?.format, tensors.get('layers.0.v')?.source.type], ['bf16', 'f16']);
  assert.deepEqual([tensors.get('finalNorm')?.format, tensors.get('finalNorm')?.rows], ['f32', 1]);
  assert.deepEqual(notes, []);
  assert.equal(map(llama, llamaFields, llamaShapes, 'float32').tensors.get('layers.0.q')?.format, 'f32');
});

test('what does not fit is refused with file and tensor', () => {
  const refused = (shapes: Shapes, text: string, fields: object = llamaFields) =>
    assert.throws(() => map(llama, fields, shapes), { code: 'start', message: new RegExp(`^/m/model.safetensors: ${text}`) });
  refused(without('lm_head.weight'), 'tensor lm_head.weight is missing');
  refused(
    { ...llamaShapes, [`${layer}mlp.up_proj.weight`]: ['bf16', 64, 96] },
    'tensor model.layers.0.mlp.up_proj.weight has shape \\[64, 96\\], but the model.s configuration asks for \\[96, 64\\]',
  );
  refused({ ...llamaShapes, 'model.norm.weight': ['f32', 8, 8] }, 'tensor model.norm.weight has shape \\[8, 8\\]');
  refused(
    { ...llamaShapes, [`${layer}self_attn.q_proj.weight`]: ['i32', 64, 64] },
    'tensor .*q_proj.weight is of type i32, which is not supported',
  );
  refused(
    { ...llamaShapes, [`${layer}self_attn.q_proj.bias`]: ['bf16', 64] },
    'tensor .*q_proj.bias belongs to no part of this architecture',
  );
  refused({ ...llamaShapes, [`${layer}self_attn.sinks`]: ['bf16', 4] }, 'tensor .*sinks belongs to no part');
  refused(llamaShapes, 'tensor model.layers.1.input_layernorm.weight is missing', { ...llamaFields, num_hidden_layers: 2 });
});

test('what nobody needs is passed over, what may matter is noted', () => {
  const extra: Shapes = { ...llamaShapes, [`${layer}self_attn.rotary_emb.inv_freq`]: ['f32', 8], 'model.extra': ['f32', 1] };
  assert.deepEqual(map(llama, llamaFields, extra).notes, ['1 tensors are not used: model.extra']);
  const { tensors } = map(llama, { ...llamaFields, tie_word_embeddings: true }, llamaShapes);
  assert.equal(tensors.has('head'), false);
});

test('fused matrices are slices of rows', () => {
  const shapes: Shapes = {
    ...Object.fromEntries(Object.entries(llamaShapes).filter(([name]) => !/[qkv]_proj|gate_proj|up_proj/.test(name))),
    [`${layer}self_attn.qkv_proj.weight`]: ['bf16', 128, 64],
    [`${layer}mlp.gate_up_proj.weight`]: ['bf16', 192, 64],
  };
  const { tensors } = map(phi3, llamaFields, shapes);
  const place = (name: string) => {
    const { rows, source } = tensors.get(name) as WeightTensor;
    return [source.firstRow, rows, source.rows];
  };
  assert.deepEqual(
    ['q', 'k', 'v', 'gate', 'up'].map((part) => place(`layers.0.${part}`)),
    [
      [0, 64, 128],
      [64, 32, 128],
      [96, 32, 128],
      [0, 96, 192],
      [96, 96, 192],
    ],
  );
});

test('GPT-2: transposed slices of columns, biases as places of their own, names with and without prefix', () => {
  const fields = { n_embd: 8, n_head: 2, n_layer: 1, n_positions: 16, vocab_size: 10 };
  const shapes = (prefix: string): Shapes => ({
    [`${prefix}wte.weight`]: ['f32', 10, 8],
    [`${prefix}wpe.weight`]: ['f32', 16, 8],
    [`${prefix}ln_f.weight`]: ['f32', 8],
    [`${prefix}ln_f.bias`]: ['f32', 8],
    ...Object.fromEntries(['ln_1', 'ln_2'].flatMap((n) => ['weight', 'bias'].map((s) => [`${prefix}h.0.${n}.${s}`, ['f32', 8]]))),
    [`${prefix}h.0.attn.c_attn.weight`]: ['f32', 8, 24],
    [`${prefix}h.0.attn.c_attn.bias`]: ['f32', 24],
    [`${prefix}h.0.attn.bias`]: ['f32', 1, 1, 16, 16],
    [`${prefix}h.0.attn.c_proj.weight`]: ['f32', 8, 8],
    [`${prefix}h.0.attn.c_proj.bias`]: ['f32', 8],
    [`${prefix}h.0.mlp.c_fc.weight`]: ['f32', 8, 32],
    [`${prefix}h.0.mlp.c_fc.bias`]: ['f32', 32],
    [`${prefix}h.0.mlp.c_proj.weight`]: ['f32', 32, 8],
    [`${prefix}h.0.mlp.c_proj.bias`]: ['f32', 8],
  });
  for (const prefix of ['', 'transformer.']) {
    const { tensors, notes } = map(gpt2, fields, shapes(prefix));
    const k = tensors.get('layers.0.k') as WeightTensor;
    assert.deepEqual([k.rows, k.cols, k.source.rows, k.source.cols, k.source.firstRow, k.source.transposed], [8, 8, 8, 24, 8, true]);
    const fused = [...checkpointOf(shapes(prefix)).tensors.values()].find((t) => t.name.endsWith('c_attn.bias')) as StoredTensor;
    const bias = tensors.get('layers.0.kBias') as WeightTensor;
    assert.deepEqual([bias.cols, bias.source.byteOffset, bias.source.cols, bias.source.firstRow], [8, fused.byteOffset + 32, 8, 0]);
    assert.deepEqual(notes, []);
  }
});

const expertFields = { ...llamaFields, hidden_size: 256, num_local_experts: 2, num_experts_per_tok: 1, tie_word_embeddings: true };
const ggufShapes = (gate: string, up: string): Shapes => ({
  'token_embd.weight': ['q8_0', 10, 256],
  'output_norm.weight': ['f32', 256],
  'blk.0.attn_norm.weight': ['f32', 256],
  'blk.0.ffn_norm.weight': ['f32', 256],
  'blk.0.attn_q.weight': ['q4_k', 256, 256],
  'blk.0.attn_k.weight': ['q3_k', 128, 256],
  'blk.0.attn_v.weight': ['q6_k', 128, 256],
  'blk.0.attn_output.weight': ['q3_k', 256, 256],
  'blk.0.ffn_gate_inp.weight': ['f32', 2, 256],
  'blk.0.ffn_gate_exps.weight': [gate, 2, 96, 256],
  'blk.0.ffn_up_exps.weight': [up, 2, 96, 256],
  'blk.0.ffn_down_exps.weight': ['q5_0', 2, 256, 96],
});

test('GGUF: formats with a kernel keep their bits, others are counted in one note; experts are slices', () => {
  const rules = mixtral.gguf?.tensors as TensorRules;
  const { tensors, notes } = map(mixtral, expertFields, ggufShapes('q4_0', 'q4_0'), 'bfloat16', rules);
  const format = (name: string) => tensors.get(name)?.format;
  assert.deepEqual(['embed', 'layers.0.q', 'layers.0.k', 'layers.0.v', 'layers.0.router', 'layers.0.experts.1.gate'].map(format), [
    'q8_0',
    'q4_k',
    'bf16',
    'q6_k',
    'f32',
    'q4_0',
  ]);
  assert.deepEqual(notes, ['quantised tensors dequantised to bf16 (no kernel multiplies these in their bits): 2 of q3_k']);
  assert.equal(tensors.get('layers.0.q')?.source.interleavedHeadDim, 64);
  assert.equal(tensors.get('layers.0.v')?.source.interleavedHeadDim, 0);
  const down = tensors.get('layers.0.experts.1.down') as WeightTensor;
  assert.deepEqual([down.rows, down.cols, down.source.firstRow, down.source.rows], [256, 96, 256, 512]);
  const [note] = map(mixtral, expertFields, ggufShapes('q4_0', 'q4_0'), 'float32', rules).notes;
  assert.match(note ?? '', /dequantised to float32 \(--dtype float32 asks for it\)/);
});

test('gate and up are kept alike', () => {
  const { tensors } = map(mixtral, expertFields, ggufShapes('q4_0', 'q8_0'), 'bfloat16', mixtral.gguf?.tensors);
  assert.deepEqual(
    ['gate', 'up', 'down'].map((part) => tensors.get(`layers.0.experts.0.${part}`)?.format),
    ['bf16', 'bf16', 'q5_0'],
  );
});
