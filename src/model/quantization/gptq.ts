/** GPTQ (Frantar et al. 2023) as AutoGPTQ and GPTQModel write it: qweight, qzeros, scales, g_idx. Layout 'gptq' of `Scaling`. */
import type { Config } from '../config.js';
import { codeType, floatTypes, keptFormat, type LayerTensors, placeOf, type QuantisedLinear, type QuantScheme } from './scheme.js';

export function gptq(config: Config): QuantScheme {
  const bits = config.count('bits', 32);
  const type = codeType(bits, (expected) => config.fault('bits', expected));
  const groupSize = config.number('group_size');
  if (!Number.isInteger(groupSize) || (groupSize < 1 && groupSize !== -1))
    throw config.fault('group_size', 'a whole number, or -1 for one group');
  const symmetric = config.boolean('sym', true);
  const reordered = config.boolean('desc_act', false);
  const form = config.string('checkpoint_format', 'gptq');
  if (form !== 'gptq' && form !== 'gptq_v2') throw config.fault('checkpoint_format', 'gptq or gptq_v2');
  if (config.boolean('is_marlin_format', false)) throw config.fault('is_marlin_format', 'false: the layout of marlin is not read');
  const centre = 1 << (bits - 1);

  function linear(layer: LayerTensors): QuantisedLinear | null {
    const codes = layer.find('qweight');
    if (!codes) return null;
    const [lines, rows] = layer.matrix(codes, ['i32']);
    const cols = (lines * 32) / bits;
    if (rows % 8 !== 0 || cols % 8 !== 0) throw layer.fault(codes, `is of a layer of [${rows}, ${cols}]; expected multiples of 8`);
    const groupCols = groupSize === -1 ? cols : groupSize;
    const groups = Math.ceil(cols / groupCols);
    const scales = layer.need('scales', floatTypes, [groups, rows]);
    const hasZeros = !symmetric || layer.find('qzeros') !== undefined;
    const zeros = hasZeros ? layer.need('qzeros', ['i32'], [groups, (rows * bits) / 32]) : null;
    const order = layer.find('g_idx') && groups > 1 ? layer.need('g_idx', ['i32', 'i64'], [cols]) : null;
    const scaling = {
      layout: 'gptq',
      groupRows: 1,
      groupCols,
      scales: placeOf(scales),
      zeros: zeros && placeOf(zeros),
      zeroPoint: zeros ? (form === 'gptq' ? 1 : 0) : centre,
      groupOfColumn: order && placeOf(order),
    } as const;
    // Files without act-order carry g_idx too, in order. The native side reads it all the same, and refuses one that is not.
    const inOrder = reordered ? scaling : { ...scaling, groupOfColumn: null };
    return { codes, type, rows, cols, scaling, kept: keptFormat(type, cols, inOrder, symmetric) };
  }
  const grouping = groupSize === -1 ? 'one group a row' : `groups of ${groupSize}`;
  return { method: 'gptq', summary: `GPTQ, ${bits} bits in ${grouping}${reordered ? ', act-order' : ''}`, linear };
}
