import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredTensor } from '../checkpoint.js';
import { Config } from '../config.js';
import { readQuantScheme } from './checkpoint-config.js';
import { LayerTensors, type QuantisedLinear } from './scheme.js';

type Shapes = Readonly<Record<string, readonly [type: string, ...shape: number[]]>>;

function schemeOf(fields: object) {
  const scheme = readQuantScheme(new Config('/m/config.json', { quantization_config: fields }));
  assert.ok(scheme);
  return scheme;
}

/** The layer `m.q` as a file would hold it. */
function layerOf(fields: object, shapes: Shapes): QuantisedLinear | null {
  const tensors = Object.entries(shapes).map(
    ([suffix, [type, ...shape]], i): StoredTensor => ({ name: `m.q.${suffix}`, file: 0, byteOffset: 100 * i, type, shape }),
  );
  const checkpoint = { files: ['/m/model.safetensors'], tensors: new Map(tensors.map((t) => [t.name, t])) };
  return schemeOf(fields).linear(new LayerTensors('m.q', checkpoint.tensors, checkpoint));
}
const refused = (fields: object, shapes: Shapes | null, message: RegExp) =>
  assert.throws(() => (shapes ? layerOf(fields, shapes) : schemeOf(fields)), { code: 'start', message });

const gptq = { quant_method: 'gptq', bits: 4, group_size: 32, desc_act: false, sym: true };
const gptqLayer: Shapes = {
  qweight: ['i32', 16, 64],
  qzeros: ['i32', 4, 8],
  scales: ['f16', 4, 64],
  g_idx: ['i32', 128],
};

test('GPTQ', () => {
  const layer = layerOf(gptq, gptqLayer);
  assert.deepEqual([layer?.rows, layer?.cols, layer?.type, layer?.kept.format], [64, 128, 'u4', 'q4_0']);
  assert.deepEqual(layer?.scaling, {
    layout: 'gptq',
    groupRows: 1,
    groupCols: 32,
    scales: { file: 0, byteOffset: 200, type: 'f16' },
    zeros: { file: 0, byteOffset: 100, type: 'i32' },
    zeroPoint: 1,
    groupOfColumn: { file: 0, byteOffset: 300, type: 'i32' },
  });
  assert.equal(layerOf({ ...gptq, sym: false }, gptqLayer)?.kept.format, 'q4_1');
  assert.equal(layerOf({ ...gptq, checkpoint_format: 'gptq_v2' }, gptqLayer)?.scaling.zeroPoint, 0);
  const reordered = layerOf({ ...gptq, desc_act: true }, gptqLayer);
  assert.deepEqual(reordered?.kept, { format: 'bf16', why: 'act-order scatters the columns of a group' });
  assert.equal(schemeOf({ ...gptq, desc_act: true }).summary, 'GPTQ, 4 bits in groups of 32, act-order');
  const whole: Shapes = { ...gptqLayer, qzeros: ['i32', 1, 8], scales: ['f16', 1, 64] };
  const one = layerOf({ ...gptq, group_size: -1, desc_act: true }, whole);
  assert.deepEqual([one?.scaling.groupCols, one?.scaling.groupOfColumn, one?.kept.format], [128, null, 'q4_0']);
  const bytes: Shapes = { ...gptqLayer, qweight: ['i32', 32, 64], qzeros: ['i32', 4, 16] };
  assert.deepEqual([layerOf({ ...gptq, bits: 8 }, bytes)?.type, layerOf({ ...gptq, bits: 8 }, bytes)?.kept.format], ['u8', 'q8_0']);
  assert.equal(layerOf({ ...gptq, bits: 8, sym: false }, bytes)?.kept.format, 'bf16');
  const { qzeros: _, ...withoutZeros } = gptqLayer;
  assert.deepEqual([layerOf(gptq, withoutZeros)?.scaling.zeros, layerOf(gptq, withoutZeros)?.scaling.zeroPoint], [null, 8]);
  assert.equal(layerOf(gptq, { weight: ['f16', 64, 128] }), null, 'a layer that was left as it is');
});

test('what of GPTQ is refused', () => {
  refused({ ...gptq, bits: 3 }, null, /config.json: quantization_config: bits is 3; expected 4 or 8/);
  refused({ ...gptq, group_size: 0 }, null, /group_size is 0/);
  refused({ ...gptq, checkpoint_format: 'marlin' }, null, /checkpoint_format is "marlin"; expected gptq or gptq_v2/);
  refused(gptq, { ...gptqLayer, scales: ['f16', 2, 64] }, /^\/m\/model.safetensors: tensor m\.q\.scales has shape \[2, 64\], .* \[4, 64\]/);
  refused(gptq, { ...gptqLayer, qweight: ['i64', 16, 64] }, /m\.q\.qweight is of type i64; expected i32/);
  refused(gptq, { ...gptqLayer, qzeros: ['i32', 4, 16] }, /m\.q\.qzeros has shape \[4, 16\]/);
  refused(gptq, { ...gptqLayer, g_idx: ['i32', 64] }, /m\.q\.g_idx has shape \[64\]/);
  refused(gptq, { qweight: ['i32', 16, 64], qzeros: ['i32', 4, 8] }, /tensor m\.q\.scales is missing/);
  const { qzeros: _, ...withoutZeros } = gptqLayer;
  refused({ ...gptq, sym: false }, withoutZeros, /tensor m\.q\.qzeros is missing/);
});

const awq = { quant_method: 'awq', bits: 4, group_size: 64, version: 'gemm', zero_point: true };
const awqLayer: Shapes = { qweight: ['i32', 128, 8], qzeros: ['i32', 2, 8], scales: ['f16', 2, 64] };

test('AWQ', () => {
  const layer = layerOf(awq, awqLayer);
  assert.deepEqual([layer?.rows, layer?.cols, layer?.scaling.layout, layer?.kept.format], [64, 128, 'awq', 'q4_1']);
  assert.ok(layerOf({ quant_method: 'awq', w_bit: 4, q_group_size: 64, version: 'GEMM' }, awqLayer));
  refused({ ...awq, bits: 8 }, null, /bits is 8; expected 4/);
  refused({ ...awq, version: 'gemv' }, null, /version is "gemv"; expected gemm/);
  refused({ ...awq, zero_point: false }, null, /zero_point is false/);
  refused(awq, { ...awqLayer, scales: ['i32', 2, 64] }, /m\.q\.scales is of type i32; expected f32 or f16 or bf16/);
});

const weights = { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 32 };
const compressed = (change: object = {}, targets: readonly string[] = ['Linear'], format = 'pack-quantized') => ({
  quant_method: 'compressed-tensors',
  format,
  config_groups: { group_0: { targets, weights: { ...weights, ...change } } },
});
const packed: Shapes = { weight_packed: ['i32', 64, 16], weight_scale: ['bf16', 64, 4], weight_shape: ['i64', 2] };

test('compressed-tensors: packed integers', () => {
  const layer = layerOf(compressed(), packed);
  assert.deepEqual([layer?.rows, layer?.cols, layer?.scaling.zeroPoint, layer?.kept.format], [64, 128, 8, 'q4_0']);
  const channel = layerOf(compressed({ strategy: 'channel', group_size: null }), { ...packed, weight_scale: ['bf16', 64, 1] });
  assert.deepEqual([channel?.scaling.groupCols, channel?.kept.format], [128, 'q4_0']);
  const asymmetric = layerOf(compressed({ symmetric: false }), { ...packed, weight_zero_point: ['i32', 8, 4] });
  assert.deepEqual([asymmetric?.scaling.zeroPoint, asymmetric?.kept.format], [0, 'q4_1']);
  const reordered = layerOf(compressed({ actorder: 'group' }), { ...packed, weight_g_idx: ['i32', 128] });
  assert.equal(reordered?.kept.format, 'bf16');
  assert.equal(layerOf(compressed({ group_size: 16 }), { ...packed, weight_scale: ['bf16', 64, 8] })?.kept.format, 'bf16');
  assert.equal(layerOf(compressed(), { weight: ['bf16', 64, 128] }), null);
  for (const targets of [['re:.*q'], ['m.q'], ['k', 'q']]) assert.ok(layerOf(compressed({}, targets), packed), targets.join());
});

test('compressed-tensors: float8 and int8', () => {
  const float = { num_bits: 8, type: 'float', strategy: 'channel' };
  const layer = layerOf(compressed(float), { weight: ['f8_e4m3', 64, 128], weight_scale: ['bf16', 64, 1] });
  assert.deepEqual([layer?.scaling.groupRows, layer?.scaling.groupCols, layer?.type], [1, 128, 'f8_e4m3']);
  const tensor = layerOf(compressed({ ...float, strategy: 'tensor' }), { weight: ['f8_e4m3', 64, 128], weight_scale: ['f32', 1] });
  assert.deepEqual([tensor?.scaling.groupRows, tensor?.scaling.groupCols], [64, 128]);
  const integers: Shapes = { weight: ['i8', 64, 128], weight_scale: ['f32', 64, 1] };
  assert.equal(layerOf(compressed({ num_bits: 8, strategy: 'channel' }), integers)?.kept.format, 'q8_0');
});

test('what of compressed-tensors is refused', () => {
  refused(compressed({}, ['Linear'], 'marlin-24'), null, /format is "marlin-24"; expected pack-quantized or/);
  refused({ ...compressed(), sparsity_config: { format: 'sparse-24-bitmask' } }, null, /sparsity_config/);
  refused({ ...compressed(), config_groups: null }, null, /config_groups is null; expected an object/);
  refused(compressed({}, ['re:(']), null, /targets is \["re:\("\]; expected names/);
  refused(compressed({}, ['k']), packed, /a group whose targets include m\.q/);
  refused(compressed({ num_bits: 3 }), packed, /num_bits is 3; expected 4 or 8/);
  refused(compressed({ strategy: 'tensor' }), packed, /strategy is "tensor"; expected group or channel/);
  refused(compressed(), { ...packed, weight_scale: ['bf16', 64, 2] }, /weight_scale has shape \[64, 2\], .* \[64, 4\]/);
  refused(compressed({ symmetric: false }), packed, /weight_zero_point is missing/);
  const zeros: Shapes = { weight: ['i8', 64, 128], weight_scale: ['f32', 64, 1], weight_zero_point: ['i8', 64, 1] };
  refused(compressed({ num_bits: 8, strategy: 'channel' }), zeros, /weight_zero_point is not supported/);
});

test('fp8', () => {
  const block = { quant_method: 'fp8', fmt: 'e4m3', activation_scheme: 'dynamic', weight_block_size: [128, 128] };
  const weight: Shapes = { weight: ['f8_e4m3', 320, 128] };
  const layer = layerOf(block, { ...weight, weight_scale_inv: ['f32', 3, 1] });
  assert.deepEqual([layer?.scaling.groupRows, layer?.scaling.groupCols, layer?.scaling.layout], [128, 128, 'rows']);
  assert.equal(schemeOf(block).summary, 'fp8 (e4m3) in blocks of 128 x 128');
  const { weight_block_size: _, ...tensor } = block;
  assert.equal(layerOf(tensor, { ...weight, weight_scale: ['f32'], input_scale: ['f32'] })?.scaling.groupRows, 320);
  assert.equal(layerOf({ quant_method: 'fbgemm_fp8' }, { ...weight, weight_scale: ['f32', 320, 1] })?.scaling.groupRows, 1);
  assert.equal(layerOf(block, { weight: ['bf16', 320, 128] }), null);
  refused(block, { ...weight, weight_scale_inv: ['f32', 2, 1] }, /weight_scale_inv has shape \[2, 1\], .* \[3, 1\]/);
  refused(block, weight, /tensor m\.q\.weight_scale is missing/);
  refused({ ...block, fmt: 'e5m2' }, null, /fmt is "e5m2"; expected e4m3/);
  refused({ ...block, weight_block_size: [128] }, null, /weight_block_size/);
});
