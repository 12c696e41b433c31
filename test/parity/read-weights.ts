/**
 * Reads the tensors of a weight map as float64, the plain way: every value by its index. A reference for the native loader, which
 * reads the same bytes in blocks. Covers all element types of `ElementType`; formulas as in ggml's dequantize_row_* (ggml-quants.c).
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { elementLayouts } from '../../src/model/quantization/formats.js';
import type { ElementType, WeightMap, WeightTensor } from '../../src/model/spec.js';

export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array; // [rows, cols]
}

export function readWeights(map: WeightMap): Map<string, Matrix> {
  const fds = map.files.map((path) => openSync(path, 'r'));
  const sources = new Map<string, Float64Array>();
  try {
    return new Map(map.tensors.map((tensor) => [tensor.name, readTensor(tensor, fds, sources)]));
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function readTensor(tensor: WeightTensor, fds: readonly number[], sources: Map<string, Float64Array>): Matrix {
  const { source, rows, cols, bias } = tensor;
  const key = `${source.file}:${source.byteOffset}:${source.rows}:${source.cols}`;
  let whole = sources.get(key);
  if (!whole) {
    const { blockValues, blockBytes } = elementLayouts[source.type];
    const bytes = Buffer.alloc(((source.rows * source.cols) / blockValues) * blockBytes);
    if (readSync(fds[source.file] as number, bytes, 0, bytes.length, source.byteOffset) !== bytes.length)
      throw new Error(`${tensor.name}: short read`);
    whole = dequantise(source.type, bytes, source.rows * source.cols);
    sources.set(key, whole);
  }
  const data = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const sourceRow = source.firstRow + (source.interleavedHeadDim ? interleavedRow(r, source.interleavedHeadDim) : r);
    for (let c = 0; c < cols; c++) {
      const at = source.transposed ? c * source.cols + sourceRow : sourceRow * source.cols + c;
      data[r * cols + c] = (whole[at] as number) + bias;
    }
  }
  return { rows, cols, data };
}

/** Our row h*headDim/2 + i of a head is the source's row 2i + h. */
function interleavedRow(r: number, headDim: number): number {
  const head = Math.floor(r / headDim);
  const inHead = r % headDim;
  const half = headDim / 2;
  return head * headDim + 2 * (inHead % half) + Math.floor(inHead / half);
}

export function f16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const bf16Word = new Uint32Array(1);
const bf16Value = new Float32Array(bf16Word.buffer);
function bf16(bits: number): number {
  bf16Word[0] = bits << 16;
  return bf16Value[0] as number;
}

type BlockReader = (b: Buffer, at: number, out: Float64Array, to: number) => void;

const iq4Values = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** Scale and minimum j of a q4_k or q5_k block: 6 bits each, packed in 12 bytes. */
function kScale(b: Buffer, at: number, j: number): readonly [number, number] {
  const q = (i: number) => b[at + i] as number;
  if (j < 4) return [q(j) & 63, q(j + 4) & 63];
  return [(q(j + 4) & 15) | ((q(j - 4) >> 6) << 4), (q(j + 4) >> 4) | ((q(j) >> 6) << 4)];
}

const half = (b: Buffer, at: number) => f16(b.readUInt16LE(at));
const nibble = (b: Buffer, at: number, i: number) => (i < 16 ? (b[at + i] as number) & 15 : (b[at + i - 16] as number) >> 4);

const readers: Readonly<Record<ElementType, BlockReader>> = {
  f32: (b, at, out, to) => {
    out[to] = b.readFloatLE(at);
  },
  f16: (b, at, out, to) => {
    out[to] = half(b, at);
  },
  bf16: (b, at, out, to) => {
    out[to] = bf16(b.readUInt16LE(at));
  },
  q8_0: (b, at, out, to) => {
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * b.readInt8(at + 2 + i);
  },
  q4_0: (b, at, out, to) => {
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * (nibble(b, at + 2, i) - 8);
  },
  q4_1: (b, at, out, to) => {
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * nibble(b, at + 4, i) + half(b, at + 2);
  },
  q5_0: (b, at, out, to) => {
    const high = b.readUInt32LE(at + 2);
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * ((nibble(b, at + 6, i) | (((high >>> i) & 1) << 4)) - 16);
  },
  q5_1: (b, at, out, to) => {
    const high = b.readUInt32LE(at + 4);
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * (nibble(b, at + 8, i) | (((high >>> i) & 1) << 4)) + half(b, at + 2);
  },
  q2_k: (b, at, out, to) => {
    const [d, min] = [half(b, at + 80), half(b, at + 82)];
    for (let i = 0; i < 256; i++) {
      const scale = b[at + (i >> 4)] as number;
      const q = ((b[at + 16 + 32 * (i >> 7) + (i & 31)] as number) >> (2 * ((i >> 5) & 3))) & 3;
      out[to + i] = d * (scale & 15) * q - min * (scale >> 4);
    }
  },
  q3_k: (b, at, out, to) => {
    const d = half(b, at + 108);
    for (let i = 0; i < 256; i++) {
      const j = i >> 4;
      const low = j < 8 ? (b[at + 96 + j] as number) & 15 : (b[at + 96 + j - 8] as number) >> 4;
      const scale = (low | ((((b[at + 104 + (j & 3)] as number) >> (2 * (j >> 2))) & 3) << 4)) - 32;
      const q = ((b[at + 32 + 32 * (i >> 7) + (i & 31)] as number) >> (2 * ((i >> 5) & 3))) & 3;
      const high = ((b[at + (i & 31)] as number) >> (i >> 5)) & 1;
      out[to + i] = d * scale * (q - (high ? 0 : 4));
    }
  },
  q4_k: (b, at, out, to) => {
    const [d, min] = [half(b, at), half(b, at + 2)];
    for (let i = 0; i < 256; i++) {
      const [scale, offset] = kScale(b, at + 4, i >> 5);
      const byte = b[at + 16 + 32 * (i >> 6) + (i & 31)] as number;
      out[to + i] = d * scale * ((i >> 5) & 1 ? byte >> 4 : byte & 15) - min * offset;
    }
  },
  q5_k: (b, at, out, to) => {
    const [d, min] = [half(b, at), half(b, at + 2)];
    for (let i = 0; i < 256; i++) {
      const [scale, offset] = kScale(b, at + 4, i >> 5);
      const byte = b[at + 48 + 32 * (i >> 6) + (i & 31)] as number;
      const high = ((b[at + 16 + (i & 31)] as number) >> (i >> 5)) & 1;
      out[to + i] = d * scale * (((i >> 5) & 1 ? byte >> 4 : byte & 15) | (high << 4)) - min * offset;
    }
  },
  q6_k: (b, at, out, to) => {
    const d = half(b, at + 208);
    for (let i = 0; i < 256; i++) {
      const [upper, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const byte = b[at + 64 * upper + 32 * (quarter & 1) + l] as number;
      const low = quarter < 2 ? byte & 15 : byte >> 4;
      const high = ((b[at + 128 + 32 * upper + l] as number) >> (2 * quarter)) & 3;
      out[to + i] = d * b.readInt8(at + 192 + (i >> 4)) * ((low | (high << 4)) - 32);
    }
  },
  iq4_nl: (b, at, out, to) => {
    for (let i = 0; i < 32; i++) out[to + i] = half(b, at) * (iq4Values[nibble(b, at + 2, i)] as number);
  },
  u4: (b, at, out, to) => {
    out[to] = (b[at] as number) & 15;
    out[to + 1] = (b[at] as number) >> 4;
  },
  u8: (b, at, out, to) => {
    out[to] = b[at] as number;
  },
  i8: (b, at, out, to) => {
    out[to] = b.readInt8(at);
  },
  f8_e4m3: (b, at, out, to) => {
    const code = b[at] as number;
    const [exponent, fraction] = [(code >> 3) & 15, code & 7];
    const magnitude = exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10);
    out[to] = (code & 127) === 127 ? Number.NaN : code & 128 ? -magnitude : magnitude;
  },
};

/** `count` values of `type` as float64 (of the exact products, not rounded to float32). */
export function dequantise(type: ElementType, bytes: Buffer, count: number): Float64Array {
  const { blockValues, blockBytes } = elementLayouts[type];
  const out = new Float64Array(count);
  const read = readers[type];
  for (let block = 0; block < count / blockValues; block++) read(bytes, block * blockBytes, out, block * blockValues);
  return out;
}
