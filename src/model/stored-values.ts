/** Values of small matrices as float32, for what is computed outside the native core: layers behind pooling. */
import { readSync } from 'node:fs';
import { startError } from '../errors.js';
import { type Checkpoint, formatBytes } from './checkpoint.js';
import { withOpenFile } from './open-file.js';
import type { DenseLayer, StoredMatrix } from './spec.js';

const bytesOf = { f32: 4, f16: 2, bf16: 2 } as const;
/** Far above any layer behind pooling. */
const matrixBytesMax = 256 << 20;

/** The matrix of that name, or a vector as a matrix of one row; null: the checkpoint has none. Throws where it is not of plain floats. */
export function storedMatrix(checkpoint: Checkpoint, name: string): StoredMatrix | null {
  const tensor = checkpoint.tensors.get(name);
  if (tensor === undefined) return null;
  const { type, shape, byteOffset } = tensor;
  const path = checkpoint.files[tensor.file]!;
  if (!(type === 'f32' || type === 'f16' || type === 'bf16') || shape.length < 1 || shape.length > 2)
    throw startError(`${path}: tensor ${name} is of type ${type} and shape [${shape.join(', ')}]; expected a matrix of floats`);
  return { path, byteOffset, type, rows: shape.length === 1 ? 1 : shape[0]!, cols: shape.at(-1)! };
}

/** [count, cols] of the rows from `first` on. */
export function readRows({ path, byteOffset, type, cols }: StoredMatrix, first: number, count: number): Float32Array {
  const rowBytes = cols * bytesOf[type];
  if (count * rowBytes > matrixBytesMax)
    throw startError(`${path}: a layer of ${formatBytes(count * rowBytes)} behind pooling is too large`);
  const bytes = new Uint8Array(count * rowBytes);
  const read = withOpenFile(path, (fd) => readSync(fd, bytes, 0, bytes.length, byteOffset + first * rowBytes));
  if (read < bytes.length) throw startError(`${path} is truncated`);
  const values = new Float32Array(count * cols);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) {
    if (type === 'f32') values[i] = view.getFloat32(4 * i, true);
    else values[i] = type === 'bf16' ? bf16(view.getUint16(2 * i, true)) : f16(view.getUint16(2 * i, true));
  }
  return values;
}

/** The layer whose weight and bias are `name`.weight and `name`.bias; null: there is none. */
export function denseLayer(checkpoint: Checkpoint, name: string, activation: DenseLayer['activation']): DenseLayer | null {
  const weight = storedMatrix(checkpoint, `${name}.weight`);
  const bias = storedMatrix(checkpoint, `${name}.bias`);
  if (weight === null) return null;
  const outputs = weight.rows;
  if (bias !== null && bias.cols !== outputs) throw startError(`${bias.path}: ${name}.bias has ${bias.cols} values for ${outputs} outputs`);
  return { outputs, weight: readRows(weight, 0, outputs), bias: bias && readRows(bias, 0, 1), activation };
}

const word = new DataView(new ArrayBuffer(4));

function bf16(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

/** IEEE 754 binary16: 5 bits of exponent, 10 of fraction. */
function f16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}
