/** AWQ (Lin et al. 2024) as AutoAWQ writes it, version "gemm": qweight, qzeros, scales. Layout 'awq' of `Scaling`. */
import type { Config } from '../config.js';
import { floatTypes, keptFormat, type LayerTensors, placeOf, type QuantisedLinear, type QuantScheme } from './scheme.js';

export function awq(config: Config): QuantScheme {
  const [bitsKey, groupKey] = config.has('w_bit') ? ['w_bit', 'q_group_size'] : ['bits', 'group_size'];
  if (config.count(bitsKey, 32) !== 4) throw config.fault(bitsKey, '4: AWQ is read in 4 bits only');
  const groupSize = config.number(groupKey);
  if (!Number.isInteger(groupSize) || (groupSize < 1 && groupSize !== -1))
    throw config.fault(groupKey, 'a whole number, or -1 for one group');
  if (config.string('version', 'gemm').toLowerCase() !== 'gemm') throw config.fault('version', 'gemm: other layouts are not read');
  if (!config.boolean('zero_point', true)) throw config.fault('zero_point', 'true: without zero points AWQ has no layout of its own');

  function linear(layer: LayerTensors): QuantisedLinear | null {
    const codes = layer.find('qweight');
    if (!codes) return null;
    const [cols, words] = layer.matrix(codes, ['i32']);
    if (cols % 8 !== 0) throw layer.fault(codes, `has ${cols} rows; expected a multiple of 8`);
    const rows = words * 8;
    const groupCols = groupSize === -1 ? cols : groupSize;
    const groups = Math.ceil(cols / groupCols);
    const scaling = {
      layout: 'awq',
      groupRows: 1,
      groupCols,
      scales: placeOf(layer.need('scales', floatTypes, [groups, rows])),
      zeros: placeOf(layer.need('qzeros', ['i32'], [groups, words])),
      zeroPoint: 0,
      groupOfColumn: null,
    } as const;
    return { codes, type: 'u4', rows, cols, scaling, kept: keptFormat('u4', cols, scaling, false) };
  }
  return { method: 'awq', summary: `AWQ, 4 bits in ${groupSize === -1 ? 'one group a row' : `groups of ${groupSize}`}`, linear };
}
