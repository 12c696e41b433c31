/**
 * What a quantised safetensors checkpoint's scheme must say of a linear layer, and the checks that all schemes share. A file a scheme makes
 * these values (gptq.ts, awq.ts, compressed-tensors.ts, fp8.ts); `checkpoint-config.ts` chooses among them by config.json; the bytes
 * are read by native/cpu/scaled_rows.cpp.
 */
import { startError } from '../../errors.js';
import type { Checkpoint, StoredTensor } from '../checkpoint.js';
import type { ElementType, Place, Scaling, WeightFormat } from '../spec.js';

/** A linear layer that the checkpoint holds quantised. */
export interface QuantisedLinear {
  readonly codes: StoredTensor;
  readonly type: ElementType;
  /** Of the whole layer, [out, in], however its codes lie. */
  readonly rows: number;
  readonly cols: number;
  readonly scaling: Scaling;
  /** What it is kept as with bfloat16, and why it cannot stay in its bits where it does not. */
  readonly kept: { readonly format: WeightFormat; readonly why: string | null };
}

export interface QuantScheme {
  /** As config.json and `--quantization` name it. */
  readonly method: string;
  /** For the log: "GPTQ, 4 bits in groups of 128". */
  readonly summary: string;
  /** null: the file holds this layer unquantised, as modules_to_not_convert and ignore say of the head. Throws a start error. */
  linear(layer: LayerTensors): QuantisedLinear | null;
}

const companions = [
  ...['qweight', 'qzeros', 'scales', 'g_idx'],
  ...['weight', 'weight_packed', 'weight_shape', 'weight_scale', 'weight_scale_inv', 'weight_zero_point', 'weight_g_idx'],
  ...['input_scale', 'input_zero_point', 'output_scale', 'k_scale', 'v_scale'],
];

/** The tensors of one layer, `model.layers.0.mlp.up_proj.*`, by the end of their names. */
export class LayerTensors {
  constructor(
    readonly module: string,
    private readonly stored: ReadonlyMap<string, StoredTensor>,
    private readonly checkpoint: Checkpoint,
  ) {}

  find(suffix: string): StoredTensor | undefined {
    return this.stored.get(`${this.module}.${suffix}`);
  }

  /** Names of all tensors that belong to the quantised weight: those of its scheme, and those about activations. */
  names(): string[] {
    return companions.flatMap((suffix) => this.find(suffix)?.name ?? []);
  }

  /** The tensor, checked. Throws a start error when it is missing or of another type or shape. */
  need(suffix: string, types: readonly string[], ...shapes: readonly (readonly number[])[]): StoredTensor {
    const tensor = this.find(suffix);
    if (!tensor) throw startError(`${this.checkpoint.files[0]}: tensor ${this.module}.${suffix} is missing`);
    if (!types.includes(tensor.type)) throw this.fault(tensor, `is of type ${tensor.type}; expected ${types.join(' or ')}`);
    if (!shapes.some((shape) => shape.join() === tensor.shape.join())) {
      const expected = shapes.map((shape) => `[${shape.join(', ')}]`).join(' or ');
      throw this.fault(tensor, `has shape [${tensor.shape.join(', ')}], but quantization_config asks for ${expected}`);
    }
    return tensor;
  }

  /** [a, b] of a matrix of int32 words or of codes. */
  matrix(tensor: StoredTensor, types: readonly string[]): readonly [number, number] {
    if (!types.includes(tensor.type)) throw this.fault(tensor, `is of type ${tensor.type}; expected ${types.join(' or ')}`);
    const [a, b] = tensor.shape;
    if (tensor.shape.length !== 2 || !a || !b) throw this.fault(tensor, `has shape [${tensor.shape.join(', ')}]; expected a matrix`);
    return [a, b];
  }

  fault(tensor: StoredTensor, text: string): Error {
    return startError(`${this.checkpoint.files[tensor.file]}: tensor ${tensor.name} ${text}`);
  }
}

export const floatTypes = ['f32', 'f16', 'bf16'] as const;

/** `tensor` as a place: its type was checked by `need`. */
export function placeOf({ file, byteOffset, type }: StoredTensor): Place {
  return { file, byteOffset, type: type as Place['type'] };
}

/** Bits 4 and 8 are read; throws what `fault` makes of any other number. */
export function codeType(bits: number, fault: (expected: string) => Error): 'u4' | 'u8' {
  if (bits !== 4 && bits !== 8) throw fault('4 or 8: other numbers of bits have no kernels');
  return bits === 4 ? 'u4' : 'u8';
}

/**
 * The format that holds a layer's codes. q4_0 and q8_0 are the codes themselves around 8 and 0 with half scales; q4_1 has -zero * scale as
 * its minimum, rounded to a half, which moves it by at most 2^-12 of itself; bf16 moves every weight by up to 2^-9. On a CPU fp8 becomes int8: it keeps
 * its size and int8's speed for 0.2 to 0.4 % of perplexity (SmolLM2-135M, scales of rows and of blocks), where bf16 would double its bytes.
 */
export function keptFormat(type: ElementType, cols: number, scaling: Scaling, symmetric: boolean): QuantisedLinear['kept'] {
  const bf16 = (why: string) => ({ format: 'bf16', why }) as const;
  if (scaling.groupOfColumn !== null) return bf16('act-order scatters the columns of a group');
  if (cols % 32 !== 0) return bf16('their rows are no multiple of 32');
  if (type === 'f8_e4m3') return { format: 'q8_0', why: 'on a CPU the nearest int8 in groups of 32; a GPU keeps fp8' };
  if (scaling.groupCols % 32 !== 0 && scaling.groupCols < cols) return bf16('their groups are no multiple of 32');
  if (type === 'u4') return { format: symmetric ? 'q4_0' : 'q4_1', why: null };
  return symmetric ? { format: 'q8_0', why: null } : bf16('no kernel has 8 bits with a zero point');
}
