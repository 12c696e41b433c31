/**
 * compressed-tensors (github.com/vllm-project/compressed-tensors): integers packed along rows (`pack-quantized`: weight_packed,
 * weight_scale, weight_zero_point, weight_g_idx), int8 (`int-quantized`) and float8 (`float-quantized`). A config has groups of layers,
 * each with its own bits. Activations stay as they are, whatever the config says of them.
 */
import { Config, isFields } from '../config.js';
import { float8Linear } from './fp8.js';
import { codeType, floatTypes, keptFormat, type LayerTensors, placeOf, type QuantisedLinear, type QuantScheme } from './scheme.js';

const formats = ['pack-quantized', 'float-quantized', 'naive-quantized', 'int-quantized', 'mixed-precision', 'dense'];

interface Group {
  readonly isTarget: (module: string) => boolean;
  readonly weights: Config;
}

export function compressedTensors(config: Config): QuantScheme {
  const format = config.string('format', 'dense');
  if (!formats.includes(format)) throw config.fault('format', formats.slice(0, 4).join(' or '));
  const sparsity = config.object('sparsity_config')?.string('format', 'dense') ?? 'dense';
  if (sparsity !== 'dense') throw config.fault('sparsity_config', 'none: sparse layouts are not read');
  const groups = readGroups(config);

  function linear(layer: LayerTensors): QuantisedLinear | null {
    const isQuantised = layer.find('weight_packed') || ['f8_e4m3', 'i8'].includes(layer.find('weight')?.type ?? '');
    if (!isQuantised) return null;
    const group = groups.find(({ isTarget }) => isTarget(layer.module));
    if (!group) throw config.fault('config_groups', `a group whose targets include ${layer.module}, which is stored quantised`);
    if (layer.find('weight_packed')) return packedLinear(layer, group.weights);
    const strategy = group.weights.string('strategy', 'channel');
    if (!['tensor', 'channel', 'block'].includes(strategy)) throw group.weights.fault('strategy', 'tensor, channel or block');
    const block = strategy === 'block' ? group.weights.numbers('block_structure') : null;
    return layer.find('weight')?.type === 'i8' ? int8Linear(layer) : float8Linear(layer, block);
  }
  const what = groups.map(({ weights }) => `${weights.string('type', 'int')}${weights.number('num_bits', 8)}`);
  return { method: 'compressed-tensors', summary: `compressed-tensors, ${[...new Set(what)].join(' and ')} weights`, linear };
}

function readGroups(config: Config): Group[] {
  const groups = config.object('config_groups');
  if (groups === null) throw config.fault('config_groups', 'an object');
  return Object.entries(groups.fields).map(([name, fields]) => {
    const group = new Config(`${groups.where}: ${name}`, isFields(fields) ? fields : {});
    const weights = group.object('weights');
    if (weights === null) throw group.fault('weights', 'an object');
    const targets = group.strings('targets').map((target) => matcher(target, group));
    return { isTarget: (module) => targets.some((matches) => matches(module)), weights };
  });
}

/** "Linear" is every layer that the file holds quantised; else a name, the end of one, or "re:" and an expression for its beginning. */
function matcher(target: string, group: Config): (module: string) => boolean {
  if (target === 'Linear') return () => true;
  if (!target.startsWith('re:')) return (module) => module === target || module.endsWith(`.${target}`);
  try {
    const expression = new RegExp(`^(?:${target.slice(3)})`);
    return (module) => expression.test(module);
  } catch {
    throw group.fault('targets', 'names, "Linear", or "re:" and a regular expression');
  }
}

function groupColsOf(weights: Config, cols: number): number {
  const strategy = weights.string('strategy', 'group');
  if (strategy === 'channel') return cols;
  if (strategy !== 'group') throw weights.fault('strategy', 'group or channel');
  const size = weights.number('group_size', -1);
  if (!Number.isInteger(size) || (size < 1 && size !== -1)) throw weights.fault('group_size', 'a whole number');
  return size === -1 ? cols : size;
}

function packedLinear(layer: LayerTensors, weights: Config): QuantisedLinear {
  const bits = weights.count('num_bits', 32);
  const type = codeType(bits, (expected) => weights.fault('num_bits', expected));
  const codes = layer.need('weight_packed', ['i32'], layer.find('weight_packed')?.shape ?? []);
  const [rows, words] = layer.matrix(codes, ['i32']);
  const perWord = 32 / bits;
  const cols = words * perWord;
  const groupCols = groupColsOf(weights, cols);
  const groups = Math.ceil(cols / groupCols);
  const symmetric = weights.boolean('symmetric', true);
  const scales = layer.need('weight_scale', floatTypes, [rows, groups]);
  const zeros = symmetric ? null : layer.need('weight_zero_point', ['i32'], [Math.ceil(rows / perWord), groups]);
  const order = layer.find('weight_g_idx') ? layer.need('weight_g_idx', ['i32', 'i64'], [cols]) : null;
  const scaling = {
    layout: 'rows',
    groupRows: 1,
    groupCols,
    scales: placeOf(scales),
    zeros: zeros && placeOf(zeros),
    // Signed integers are stored with 2^(bits-1) added, zero points too.
    zeroPoint: zeros ? 0 : 1 << (bits - 1),
    groupOfColumn: order && placeOf(order),
  } as const;
  return { codes, type, rows, cols, scaling, kept: keptFormat(type, cols, scaling, symmetric) };
}

/** int8 codes as they are, symmetric, one scale a row or a tensor. */
function int8Linear(layer: LayerTensors): QuantisedLinear {
  const codes = layer.find('weight') as NonNullable<ReturnType<LayerTensors['find']>>;
  const [rows, cols] = layer.matrix(codes, ['i8']);
  const asymmetric = layer.find('weight_zero_point');
  if (asymmetric) throw layer.fault(asymmetric, 'is not supported: int8 weights are read without zero points');
  const scales = layer.need('weight_scale', floatTypes, [rows, 1], [rows], [], [1]);
  const perTensor = scales.shape.every((n) => n === 1) && rows > 1;
  const place = { layout: 'rows', groupRows: perTensor ? rows : 1, groupCols: cols, scales: placeOf(scales) } as const;
  const scaling = { ...place, zeros: null, zeroPoint: 0, groupOfColumn: null };
  return { codes, type: 'i8', rows, cols, scaling, kept: keptFormat('i8', cols, scaling, true) };
}
