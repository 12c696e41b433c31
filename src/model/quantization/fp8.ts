/**
 * float8 e4m3 weights as DeepSeek-V3 and Qwen3 write them (`weight_scale_inv`, a float for each block of 128 x 128, which multiplies) and
 * with one scale a tensor or a row (`weight_scale`). Activations stay as they are: scales for them are not needed.
 */
import type { Config } from '../config.js';
import { floatTypes, keptFormat, type LayerTensors, placeOf, type QuantisedLinear, type QuantScheme } from './scheme.js';

export function fp8(config: Config): QuantScheme {
  const format = config.string('fmt', 'e4m3');
  if (format !== 'e4m3') throw config.fault('fmt', 'e4m3');
  const block = config.has('weight_block_size') ? config.numbers('weight_block_size') : null;
  if (block && (block.length !== 2 || !block.every((n) => Number.isInteger(n) && n > 0)))
    throw config.fault('weight_block_size', 'two whole numbers');
  const linear = (layer: LayerTensors) => float8Linear(layer, block);
  const summary = `fp8 (e4m3)${block ? ` in blocks of ${block.join(' x ')}` : ''}`;
  return { method: config.string('quant_method'), summary, linear };
}

/** Scales: one, one a row, or with `block` one for each block of [rows, cols]. null: the layer's weight is no float8. */
export function float8Linear(layer: LayerTensors, block: readonly number[] | null): QuantisedLinear | null {
  const codes = layer.find('weight');
  if (codes?.type !== 'f8_e4m3') return null;
  const [rows, cols] = layer.matrix(codes, ['f8_e4m3']);
  const [groupRows, groupCols] = block ? (block as [number, number]) : [1, cols];
  const whole = block ? [[Math.ceil(rows / groupRows), Math.ceil(cols / groupCols)]] : [[rows, 1], [rows], [], [1], [1, 1]];
  const suffix = layer.find('weight_scale_inv') ? 'weight_scale_inv' : 'weight_scale';
  const scales = layer.need(suffix, floatTypes, ...whole);
  const perTensor = !block && scales.shape.every((n) => n === 1) && rows > 1;
  const scaling = {
    layout: 'rows',
    groupRows: perTensor ? rows : groupRows,
    groupCols,
    scales: placeOf(scales),
    zeros: null,
    zeroPoint: 0,
    groupOfColumn: null,
  } as const;
  return { codes, type: 'f8_e4m3', rows, cols, scaling, kept: keptFormat('f8_e4m3', cols, scaling, true) };
}
