import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../../test/property.js';
import { LockstepError } from '../../errors.js';
import { Config, textConfig } from '../config.js';
import type { ComputeType, ModelSpec } from '../spec.js';
import { architectureOf, architectures } from './index.js';

const common = {
  hidden_size: 96,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  num_hidden_layers: 4,
  intermediate_size: 208,
  vocab_size: 512,
  max_position_embeddings: 512,
};

function spec(name: string, fields: object, computeType: ComputeType = 'float32', maxModelLen: number | null = null): ModelSpec {
  const config = new Config('config.json', { architectures: [name], ...fields });
  return architectureOf(config).spec(textConfig(config), { computeType, maxModelLen });
}
const windows = (of: ModelSpec) => of.layers.map((layer) => layer.attention.window);
const refuses = (name: string, fields: object, message: RegExp) => assert.throws(() => spec(name, fields), { code: 'start', message });

test('an unknown architecture is refused with the list of those that are known', () => {
  const expected = architectures.flatMap((a) => a.names).join(', ');
  assert.throws(() => spec('MambaForCausalLM', common), {
    code: 'start',
    message: `config.json: architecture MambaForCausalLM is not supported; supported are ${expected}`,
  });
  assert.throws(() => architectureOf(new Config('config.json', {})), /architectures names no model class/);
  assert.throws(
    () => architectureOf(new Config('config.json', { architectures: 'x' })),
    /architectures is "x"; expected a list of strings/,
  );
});

test('sizes are checked before anything is made of them', () => {
  const llama = 'LlamaForCausalLM';
  refuses(llama, { ...common, hidden_size: undefined }, /^config.json: hidden_size is missing; expected a number/);
  refuses(
    llama,
    { ...common, num_hidden_layers: 2 ** 60 },
    /num_hidden_layers is 1152921504606847000; expected a whole number from 1 to 1024/,
  );
  refuses(llama, { ...common, vocab_size: -1 }, /vocab_size is -1/);
  refuses(llama, { ...common, num_key_value_heads: 4 }, /num_key_value_heads is 4; expected a divisor of num_attention_heads, 6/);
  refuses(llama, { ...common, hidden_size: 100 }, /expected a divisor of hidden_size, 100/);
  refuses(llama, { ...common, hidden_act: 'xielu' }, /hidden_act is "xielu"; expected one of silu/);
  refuses(llama, { ...common, rms_norm_eps: 'small' }, /rms_norm_eps is "small"; expected a number/);
  refuses(llama, { ...common, tie_word_embeddings: 1 }, /tie_word_embeddings is 1; expected true or false/);
});

test('Llama: biases by flag, null as absent, longer contexts by scaling', () => {
  const plain = spec('LlamaForCausalLM', { ...common, head_dim: null, rope_scaling: null });
  assert.deepEqual(plain.dims, { hidden: 96, vocab: 512, heads: 6, kvHeads: 2, headDim: 16 });
  assert.equal(plain.embedding.tied, false);
  assert.equal(plain.layers[0]?.attention.scale, 0.25);
  const biased = spec('LlamaForCausalLM', { ...common, attention_bias: true, mlp_bias: true });
  assert.deepEqual(
    [biased.layers[0]?.attention.qkvBias, biased.layers[0]?.attention.outBias, biased.layers[0]?.mlp.bias],
    [true, true, true],
  );
  const longest = (rope_scaling: object) => spec('LlamaForCausalLM', { ...common, rope_scaling }).maxPositions;
  assert.equal(longest({ type: 'linear', factor: 4 }), 2048);
  assert.equal(longest({ type: 'yarn', factor: 4, original_max_position_embeddings: 256 }), 1024);
  assert.equal(
    longest({ rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 }),
    512,
  );
});

test('windows: Mistral everywhere, Qwen from a layer on, Phi-3 unless it covers all, Gemma 2 every other, Gemma 3 five of six', () => {
  assert.deepEqual(windows(spec('MistralForCausalLM', { ...common, sliding_window: 8 })), [8, 8, 8, 8]);
  assert.deepEqual(windows(spec('MistralForCausalLM', { ...common, sliding_window: null })), [null, null, null, null]);
  const qwen = { ...common, sliding_window: 8, max_window_layers: 2 };
  assert.deepEqual(windows(spec('Qwen2ForCausalLM', qwen)), [null, null, null, null]);
  assert.deepEqual(windows(spec('Qwen2ForCausalLM', { ...qwen, use_sliding_window: true })), [null, null, 8, 8]);
  const types = ['sliding_attention', 'full_attention', 'full_attention', 'sliding_attention'];
  assert.deepEqual(windows(spec('Qwen3ForCausalLM', { ...qwen, use_sliding_window: true, layer_types: types })), [8, null, null, 8]);
  assert.deepEqual(windows(spec('Phi3ForCausalLM', { ...common, sliding_window: 512 })), [null, null, null, null]);
  assert.deepEqual(windows(spec('Phi3ForCausalLM', { ...common, sliding_window: 511 })), [511, 511, 511, 511]);
  assert.deepEqual(windows(spec('Gemma2ForCausalLM', { ...common, sliding_window: 8 })), [8, null, 8, null]);
  const gemma3 = spec('Gemma3ForCausalLM', { ...common, num_hidden_layers: 7, sliding_window: 8 });
  assert.deepEqual(windows(gemma3), [8, 8, 8, 8, 8, null, 8]);
  assert.deepEqual(
    gemma3.layers.map((layer) => layer.rope),
    [1, 1, 1, 1, 1, 0, 1],
  );
  refuses('MistralForCausalLM', { ...common, sliding_window: 0 }, /sliding_window is 0; expected a whole number above 0, or null/);
  refuses('Qwen3ForCausalLM', { ...common, layer_types: ['full_attention'] }, /expected 4 entries, one a layer/);
  refuses('Qwen3ForCausalLM', { ...common, layer_types: [...types.slice(1), 'linear_attention'] }, /layer_types holds "linear_attention"/);
});

test('Gemma: the embedding is scaled in the compute type; caps may be none', () => {
  assert.equal(spec('Gemma2ForCausalLM', common, 'bfloat16').embedding.scale, 9.8125);
  assert.equal(spec('Gemma2ForCausalLM', common).embedding.scale, Math.fround(Math.sqrt(96)));
  const capped = spec('Gemma2ForCausalLM', { ...common, query_pre_attn_scalar: 144 });
  assert.deepEqual([capped.layers[0]?.attention.softcap, capped.logits.softcap, capped.layers[0]?.attention.scale], [50, 30, 1 / 12]);
  assert.equal(capped.embedding.tied, true);
  assert.deepEqual(capped.finalNorm, { kind: 'rms', eps: 1e-6, weightOffset: 1, bias: false });
  assert.equal(spec('Gemma2ForCausalLM', { ...common, final_logit_softcapping: null }).logits.softcap, null);
  const sees = spec('Gemma3TextModel', { ...common, sliding_window: 8, use_bidirectional_attention: true });
  assert.deepEqual([sees.causal, sees.layers[0]?.attention.window], [false, 5]);
});

test('Gemma 3: the text part of a multimodal configuration, with the defaults that it leans on', () => {
  const text_config = {
    hidden_size: 2560,
    intermediate_size: 10_240,
    num_hidden_layers: 34,
    rope_scaling: { factor: 8, rope_type: 'linear' },
    sliding_window: 1024,
  };
  const found = spec('Gemma3ForConditionalGeneration', { text_config, vision_config: {}, eos_token_id: [1, 106] });
  assert.deepEqual(found.dims, { hidden: 2560, vocab: 262_208, heads: 8, kvHeads: 4, headDim: 256 });
  assert.equal(found.maxPositions, 131_072);
  assert.equal(found.ropes[0]?.inverseFrequencies[0], 0.125);
  assert.equal(found.ropes[1]?.inverseFrequencies[0], 1);
});

test('experts: which layers, how many, how weighted', () => {
  const moe = {
    ...common,
    moe_intermediate_size: 48,
    num_experts: 8,
    num_experts_per_tok: 2,
    mlp_only_layers: [1],
    decoder_sparse_step: 2,
  };
  const found = spec('Qwen3MoeForCausalLM', moe);
  assert.deepEqual(
    found.layers.map((layer) => layer.mlp.experts?.count ?? 0),
    [0, 0, 0, 8],
  );
  assert.deepEqual(found.layers[3]?.mlp.experts, { count: 8, topK: 2, intermediate: 48, normalizeTopK: false });
  assert.equal(found.layers[0]?.mlp.intermediate, 208);
  const mixtral = spec('MixtralForCausalLM', { ...common, num_local_experts: 4, num_experts_per_tok: 2 });
  assert.deepEqual(mixtral.layers[0]?.mlp.experts, { count: 4, topK: 2, intermediate: 208, normalizeTopK: true });
  refuses(
    'MixtralForCausalLM',
    { ...common, num_local_experts: 4, num_experts_per_tok: 5 },
    /num_experts_per_tok is 5; expected a whole number from 1 to 4/,
  );
});

test('BERT and RoBERTa: encoders whose norms stand behind', () => {
  const { num_key_value_heads: _, ...encoder } = { ...common, type_vocab_size: 2, layer_norm_eps: 1e-5, pad_token_id: 1 };
  const found = spec('BertForSequenceClassification', encoder);
  assert.deepEqual(found.embedding, { scale: 1, learnedPositions: { offset: 0, count: 512 }, tokenTypes: 2, tied: true });
  assert.deepEqual([found.causal, found.postNorm, found.dims.kvHeads, found.finalNorm.eps], [false, true, 6, 1e-5]);
  const roberta = spec('XLMRobertaModel', { ...encoder, max_position_embeddings: 514, type_vocab_size: 1 });
  assert.deepEqual([roberta.maxPositions, roberta.embedding.learnedPositions?.offset, roberta.embedding.tokenTypes], [512, 2, 1]);
  refuses('BertModel', { ...encoder, is_decoder: true }, /is_decoder is true; expected false/);
  refuses('BertModel', { ...encoder, position_embedding_type: 'relative_key' }, /expected absolute/);
  refuses('RobertaModel', { ...encoder, max_position_embeddings: 2 }, /more than the 2 rows that no position uses/);
});

test('decoders whose tokens see each other', () => {
  assert.equal(spec('Qwen2Model', { ...common, is_causal: false }).causal, false);
  assert.equal(spec('Qwen2Model', common).causal, true);
});

test('a family is found by any of its class names', () => {
  for (const name of ['Qwen3Model', 'Qwen3ForSequenceClassification', 'Qwen3ForCausalLM']) {
    assert.notEqual(spec(name, common).layers[0]?.attention.qkNorm, null, name);
  }
});

test('GPT-2 and OPT: learned positions, and variants that are refused', () => {
  const gpt2 = { n_embd: 80, n_head: 5, n_layer: 3, n_positions: 128, vocab_size: 512 };
  const found = spec('GPT2LMHeadModel', { ...gpt2, n_inner: null, scale_attn_by_inverse_layer_idx: true });
  assert.deepEqual(found.embedding, { scale: 1, learnedPositions: { offset: 0, count: 128 }, tokenTypes: null, tied: true });
  assert.equal(found.layers[1]?.attention.scale, 1 / 4 / 2);
  assert.equal(found.layers[0]?.mlp.intermediate, 320);
  assert.equal(found.layers[0]?.rope, null);
  refuses('GPT2LMHeadModel', { ...gpt2, n_head: 7 }, /n_head is 7; expected a divisor of n_embd, 80/);
  const opt = { ...common, ffn_dim: 256 };
  assert.deepEqual(spec('OPTForCausalLM', opt).embedding.learnedPositions, { offset: 2, count: 514 });
  refuses(
    'OPTForCausalLM',
    { ...opt, do_layer_norm_before: false },
    /do_layer_norm_before is false; expected true: norms after each half \(opt-350m\)/,
  );
  refuses('OPTForCausalLM', { ...opt, word_embed_proj_dim: 48 }, /projected embeddings \(opt-350m\)/);
});

test('a base that a scaling rule cannot take is refused', () => {
  refuses(
    'LlamaForCausalLM',
    { ...common, rope_theta: 1, rope_scaling: { rope_type: 'yarn', factor: 2 } },
    /theta 1 .* no finite frequencies/,
  );
});

test('whatever stands in a configuration, the answer is a spec or one start error', () => {
  const value = fc.oneof(
    fc.constantFrom(0, 1, 2, 3, 4, 8, 16, 96, 512, -1, 0.5, 1e300, 2 ** 60, Number.NaN),
    fc.constantFrom<unknown>(null, true, false, '', 'silu', 'gelu', [], [1, 2], ['sliding_attention'], {}, { rope_type: 'yarn' }),
    fc.record({ rope_type: fc.constantFrom('linear', 'yarn', 'llama3', 'longrope', 'dynamic'), factor: fc.constantFrom(0, 2, 'x', null) }),
  );
  const keys = Object.keys(common).concat(
    'head_dim',
    'rope_scaling',
    'rope_parameters',
    'rope_theta',
    'sliding_window',
    'layer_types',
    'rms_norm_eps',
  );
  const more = [
    'hidden_act',
    'tie_word_embeddings',
    'num_experts',
    'num_experts_per_tok',
    'partial_rotary_factor',
    'n_embd',
    'n_head',
    'text_config',
  ];
  const name = fc.constantFrom(...architectures.flatMap((a) => a.names));
  fc.assert(
    fc.property(name, fc.dictionary(fc.constantFrom(...keys, ...more), value, { maxKeys: 3 }), (architecture, change) => {
      try {
        const found = spec(architecture, { ...common, ...change });
        assert.ok(found.layers.length <= 1024 && found.dims.headDim >= 1);
        assert.ok(found.ropes.every((rope) => [...rope.inverseFrequencies, rope.attentionFactor].every(Number.isFinite)));
      } catch (error) {
        assert.ok(error instanceof LockstepError && error.code === 'start', `${String(error)} of ${JSON.stringify(change)}`);
      }
    }),
    { numRuns: 2000 },
  );
});
