/**
 * Element types of checkpoint files and the format each weight is kept in. A format that has a kernel keeps a file's own bits; every
 * other type becomes bf16 (float32 with `--dtype float32`).
 */
import { startError } from '../../errors.js';
import type { ComputeType, ElementType, WeightFormat, WeightMap } from '../spec.js';

export interface ElementLayout {
  /** Values of one block; blocks run along a row. */
  readonly blockValues: number;
  readonly blockBytes: number;
}

/** Every type that can be read; sizes from ggml's type table. */
export const elementLayouts: Readonly<Record<ElementType, ElementLayout>> = {
  f32: { blockValues: 1, blockBytes: 4 },
  f16: { blockValues: 1, blockBytes: 2 },
  bf16: { blockValues: 1, blockBytes: 2 },
  q8_0: { blockValues: 32, blockBytes: 34 },
  q4_0: { blockValues: 32, blockBytes: 18 },
  q4_1: { blockValues: 32, blockBytes: 20 },
  q5_0: { blockValues: 32, blockBytes: 22 },
  q5_1: { blockValues: 32, blockBytes: 24 },
  q2_k: { blockValues: 256, blockBytes: 84 },
  q3_k: { blockValues: 256, blockBytes: 110 },
  q4_k: { blockValues: 256, blockBytes: 144 },
  q5_k: { blockValues: 256, blockBytes: 176 },
  q6_k: { blockValues: 256, blockBytes: 210 },
  iq4_nl: { blockValues: 32, blockBytes: 18 },
  u4: { blockValues: 2, blockBytes: 1 },
  u8: { blockValues: 1, blockBytes: 1 },
  i8: { blockValues: 1, blockBytes: 1 },
  f8_e4m3: { blockValues: 1, blockBytes: 1 },
};

export function isElementType(type: string): type is ElementType {
  return Object.hasOwn(elementLayouts, type);
}

/** Codes mean nothing without their scales (`Scaling`). */
const codeTypes: readonly ElementType[] = ['u4', 'u8', 'i8', 'f8_e4m3'];
/** Types whose values are weights as they stand. */
export const valueTypes = (Object.keys(elementLayouts) as ElementType[]).filter((type) => !codeTypes.includes(type));

export const isValueType = (type: string): type is ElementType => (valueTypes as readonly string[]).includes(type);

export const isQuantised = (type: ElementType): boolean => elementLayouts[type].blockValues > 1;

/** Kept in their bits and multiplied by int8 activations. */
const keptInBits: readonly ElementType[] = ['q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'iq4_nl', 'q4_k', 'q5_k', 'q6_k'];

/** The format of one matrix of `cols` columns. Vectors and routers are float32 always, and do not come here. */
export function matrixFormat(type: ElementType, cols: number, computeType: ComputeType): WeightFormat {
  if (computeType === 'float32') return 'f32';
  return keptInBits.includes(type) && cols % elementLayouts[type].blockValues === 0 ? (type as WeightFormat) : 'bf16';
}

/** `--quantization int8` or `int4`: float weights quantised as they are loaded. */
export type OnLoad = 'int8' | 'int4';

/**
 * The format of one matrix that is quantised on load, in groups of 32. Embedding and head stay at 8 bits with int4: they are looked at one
 * row or all at a time, and their errors reach every token. Learned positions and matrices without whole groups stay at bf16.
 */
export function onLoadFormat(part: string, cols: number, onLoad: OnLoad): WeightFormat {
  if (part === 'embedPositions' || part === 'embedTypes' || cols % 32 !== 0) return 'bf16';
  return onLoad === 'int8' || part === 'embed' || part === 'head' ? 'q8_0' : 'q4_1';
}

/** Bytes that the weights take in memory in the formats they are kept in, to within the padding of packed rows. */
export function weightBytes(weights: WeightMap): number {
  return weights.tensors.reduce((sum, { rows, cols, format }) => {
    const { blockValues, blockBytes } = elementLayouts[format];
    return sum + rows * Math.ceil(cols / blockValues) * blockBytes;
  }, 0);
}

/** `--dtype` -> the type of activations and KV cache. As vLLM on CPUs, auto is bfloat16 whatever the checkpoint holds. */
export function computeTypeOf(dtype: string): ComputeType {
  switch (dtype) {
    case 'auto':
    case 'bfloat16':
      return 'bfloat16';
    case 'float':
    case 'float32':
      return 'float32';
    case 'half':
    case 'float16':
      throw startError(
        `--dtype ${dtype} is not supported: there are no float16 kernels; use bfloat16 (float16 checkpoints are rounded to it) or float32`,
        {
          param: 'dtype',
        },
      );
    default:
      throw startError(`--dtype must be one of auto, bfloat16, float32, not ${JSON.stringify(dtype)}`, { param: 'dtype' });
  }
}

/** Rounds to the nearest value of the compute type, ties to even. */
export function roundTo(computeType: ComputeType, value: number): number {
  const f32 = new Float32Array([value]);
  if (computeType === 'float32') return f32[0] as number;
  const bits = new Uint32Array(f32.buffer);
  const b = bits[0] as number;
  bits[0] = (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
  return f32[0] as number;
}
