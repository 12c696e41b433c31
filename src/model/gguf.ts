/**
 * Reads the header of a GGUF file, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata and the place
 * of every tensor. Bytes of weights are never read. Every count is held against the bytes that are left before anything is made of it,
 * so that a damaged file is one start error with file and fault, at once.
 */
import { fstatSync, readSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { startError } from '../errors.js';
import { type Checkpoint, formatBytes, type StoredTensor } from './checkpoint.js';
import { withOpenFile } from './open-file.js';
import { elementLayouts, isElementType } from './quantization/formats.js';

export type GgufValue = number | boolean | string | readonly number[] | readonly boolean[] | readonly string[];

export interface GgufFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the header; byteOffset from the start of the file. */
  readonly tensors: readonly StoredTensor[];
}

const headerBytesMax = 1 << 30;
const firstReadBytes = 1 << 20;
const dimensionsMax = 4;
const shardsMax = 1000;
/** Enough for lists of one value a layer; the tokenizer reads its own. */
const shortListLenMax = 4096;

/** ggml's type numbers. Those that `ElementType` lacks are named only to be refused by name. */
// biome-ignore format: a table
const typeNames: Readonly<Record<number, string>> = {
  0: 'f32', 1: 'f16', 2: 'q4_0', 3: 'q4_1', 6: 'q5_0', 7: 'q5_1', 8: 'q8_0', 9: 'q8_1', 10: 'q2_k', 11: 'q3_k', 12: 'q4_k', 13: 'q5_k',
  14: 'q6_k', 15: 'q8_k', 16: 'iq2_xxs', 17: 'iq2_xs', 18: 'iq3_xxs', 19: 'iq1_s', 20: 'iq4_nl', 21: 'iq3_s', 22: 'iq2_s', 23: 'iq4_xs',
  24: 'i8', 25: 'i16', 26: 'i32', 27: 'i64', 28: 'f64', 29: 'iq1_m', 30: 'bf16', 34: 'tq1_0', 35: 'tq2_0', 39: 'mxfp4', 40: 'nvfp4',
};

/** Bytes of the scalar value types, by number; 8 is a string, 9 an array. */
const scalarBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const stringType = 8;
const arrayType = 9;
/** Least bytes of one entry: key length, key type, smallest value; name length, dimensions, one size, type, offset. */
const metadataBytesMin = 8 + 4 + 1;
const tensorBytesMin = 8 + 4 + 8 + 4 + 8;

/** Lists of more than `listLenMax` values are walked over and left out: without the vocabulary a header reads in a third of the time. */
export function readGguf(path: string, file = 0, listLenMax = Number.POSITIVE_INFINITY): GgufFile {
  return withOpenFile(path, (fd) => parse(new HeaderReader(path, fd, fstatSync(fd).size, listLenMax), file));
}

/** All files of a model that was split ("…-00001-of-00003.gguf"), the first of which holds the metadata. Long lists are left out. */
export function readGgufCheckpoint(path: string): { readonly first: GgufFile; readonly checkpoint: Checkpoint } {
  const first = readGguf(path, 0, shortListLenMax);
  const count = first.metadata.get('split.count');
  const paths = typeof count === 'number' && count > 1 ? shardPaths(path, count, first.metadata.get('split.no')) : [path];
  const shards = [first, ...paths.slice(1).map((shard, i) => readGguf(shard, i + 1, shortListLenMax))];
  const tensors = new Map<string, StoredTensor>();
  for (const shard of shards) {
    for (const tensor of shard.tensors) {
      if (tensors.has(tensor.name)) throw startError(`${shard.path}: tensor ${tensor.name} stands in another file of the model too`);
      tensors.set(tensor.name, tensor);
    }
  }
  const expected = first.metadata.get('split.tensors.count');
  if (typeof expected === 'number' && expected !== tensors.size) {
    throw startError(`${path}: the ${paths.length} files of the model hold ${tensors.size} tensors, its header says ${expected}`);
  }
  return { first, checkpoint: { files: paths.map((p) => resolve(p)), tensors } };
}

function shardPaths(path: string, count: number, index: GgufValue | undefined): string[] {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(basename(path));
  if (!match || Number(match[3]) !== count || count > shardsMax) {
    throw startError(`${path} is one of ${count} files of a model, but is not named like …-00001-of-0000${count}.gguf`);
  }
  if (index !== 0)
    throw startError(`${path} is a later part of a model in ${count} files; name the first, ${match[1]}-00001-of-${match[3]}.gguf`);
  return Array.from({ length: count }, (_, i) => join(dirname(path), `${match[1]}-${String(i + 1).padStart(5, '0')}-of-${match[3]}.gguf`));
}

function parse(reader: HeaderReader, file: number): GgufFile {
  const { path } = reader;
  if (reader.fileBytes < 4 || reader.u32() !== 0x46554747) throw startError(`${path} is not a GGUF file: it does not begin with "GGUF"`);
  const version = reader.u32();
  if (version === 0x02000000 || version === 0x03000000)
    throw startError(`${path} is a big-endian GGUF file; only little-endian ones can be read`);
  if (version !== 2 && version !== 3) throw startError(`${path}: GGUF version ${version} is not supported; supported are 2 and 3`);
  const numTensors = reader.count('tensors', tensorBytesMin);
  const numMetadata = reader.count('metadata entries', metadataBytesMin);
  const metadata = new Map<string, GgufValue>();
  const keys = new Set<string>();
  for (let i = 0; i < numMetadata; i++) {
    const key = reader.string();
    if (keys.has(key)) throw reader.damaged(`its header has the key ${key} twice`);
    const value = reader.value(reader.u32(), key);
    if (value !== null) metadata.set(key, value);
    keys.add(key);
  }
  const infos = Array.from({ length: numTensors }, () => tensorInfo(reader, file));
  const alignment = metadata.get('general.alignment') ?? 32;
  if (
    typeof alignment !== 'number' ||
    !Number.isInteger(alignment) ||
    alignment < 8 ||
    alignment > 1 << 20 ||
    (alignment & (alignment - 1)) !== 0
  ) {
    throw reader.damaged(`general.alignment is ${String(alignment)}; expected a power of two from 8 to 1048576`);
  }
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  checkPlaces(reader, infos, dataStart, alignment);
  return { path, metadata, tensors: infos.map((info) => ({ ...info.tensor, byteOffset: dataStart + info.tensor.byteOffset })) };
}

interface TensorInfo {
  readonly tensor: StoredTensor;
  /** Of the type's blocks; 0 for types whose size is not known here, which are refused where they are used. */
  readonly bytes: number;
}

function tensorInfo(reader: HeaderReader, file: number): TensorInfo {
  const name = reader.string();
  const numDimensions = reader.u32();
  if (numDimensions < 1 || numDimensions > dimensionsMax)
    throw reader.damaged(`tensor ${name} has ${numDimensions} dimensions; expected 1 to ${dimensionsMax}`);
  const sizes = Array.from({ length: numDimensions }, () => reader.u64());
  const typeNumber = reader.u32();
  const type = typeNames[typeNumber];
  if (type === undefined) throw reader.damaged(`tensor ${name} has the unknown type number ${typeNumber}`);
  const byteOffset = reader.u64();
  const values = sizes.reduce((a, b) => a * b, 1);
  if (values < 1 || !Number.isSafeInteger(values)) throw reader.damaged(`tensor ${name} has the impossible shape [${sizes.join(', ')}]`);
  const layout = isElementType(type) ? elementLayouts[type] : { blockValues: 1, blockBytes: 0 };
  const rowValues = sizes[0] as number;
  if (rowValues % layout.blockValues !== 0)
    throw reader.damaged(`tensor ${name} has rows of ${rowValues} values, but blocks of ${type} hold ${layout.blockValues}`);
  // GGUF lists the contiguous dimension first.
  return { tensor: { name, file, byteOffset, type, shape: sizes.reverse() }, bytes: (values / layout.blockValues) * layout.blockBytes };
}

/** Names are unique, offsets aligned, and no tensor overlaps another or the end of the file. */
function checkPlaces(reader: HeaderReader, infos: readonly TensorInfo[], dataStart: number, alignment: number): void {
  const names = new Set<string>();
  for (const { tensor } of infos) {
    if (names.has(tensor.name)) throw reader.damaged(`its header names tensor ${tensor.name} twice`);
    names.add(tensor.name);
    if (tensor.byteOffset % alignment !== 0)
      throw reader.damaged(`tensor ${tensor.name} begins at ${tensor.byteOffset}, which is no multiple of the alignment ${alignment}`);
  }
  const inOrder = [...infos].sort((a, b) => a.tensor.byteOffset - b.tensor.byteOffset || a.bytes - b.bytes);
  let end = 0;
  let previous = '';
  for (const { tensor, bytes } of inOrder) {
    if (tensor.byteOffset < end) throw reader.damaged(`the bytes of tensor ${tensor.name} overlap those of ${previous}`);
    end = tensor.byteOffset + bytes;
    previous = tensor.name;
  }
  if (infos.length > 0 && dataStart + end > reader.fileBytes) {
    throw startError(
      `${reader.path} is truncated: its tensors need ${formatBytes(dataStart + end)}, the file has ${formatBytes(reader.fileBytes)}; download it again`,
    );
  }
}

/** A cursor over the start of a file, of which more is read when it is needed. */
class HeaderReader {
  position = 0;
  private buffer = Buffer.alloc(0);

  constructor(
    readonly path: string,
    private readonly fd: number,
    readonly fileBytes: number,
    private readonly listLenMax: number,
  ) {}

  damaged(what: string): Error {
    return startError(`${this.path} is damaged: ${what}`);
  }

  /** Makes `n` bytes from the cursor on readable and moves over them; returns where they begin. */
  private take(n: number): number {
    const start = this.position;
    const end = start + n;
    if (end > this.buffer.length) this.readTo(end);
    this.position = end;
    return start;
  }

  private readTo(end: number): void {
    if (end > this.fileBytes) throw startError(`${this.path} is truncated: it ends inside its header (${formatBytes(this.fileBytes)})`);
    if (end > headerBytesMax) throw this.damaged(`its header is larger than ${formatBytes(headerBytesMax)}`);
    const size = Math.min(this.fileBytes, Math.max(end, this.buffer.length * 4, firstReadBytes));
    const larger = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(larger);
    let filled = this.buffer.length;
    while (filled < size) {
      const n = readSync(this.fd, larger, filled, size - filled, filled);
      if (n === 0) throw startError(`${this.path} is truncated: it ends inside its header`);
      filled += n;
    }
    this.buffer = larger;
  }

  u32(): number {
    const start = this.take(4); // may replace the buffer
    return this.buffer.readUInt32LE(start);
  }

  u64(): number {
    const start = this.take(8);
    const value = this.buffer.readUInt32LE(start) + this.buffer.readUInt32LE(start + 4) * 2 ** 32;
    if (!Number.isSafeInteger(value)) throw this.damaged(`a size or offset in its header is ${this.buffer.readBigUInt64LE(start)}`);
    return value;
  }

  /** A number of things that take at least `bytesMin` each: more than fit in the rest of the file is damage. */
  count(what: string, bytesMin: number): number {
    const value = this.u64();
    if (value * bytesMin > this.fileBytes - this.position) {
      throw this.damaged(`its header promises ${value} ${what}, more than the file (${formatBytes(this.fileBytes)}) can hold`);
    }
    return value;
  }

  string(): string {
    const length = this.count('bytes of text', 1);
    const start = this.take(length);
    return this.buffer.toString('utf8', start, start + length);
  }

  /** null: a list that is left out. */
  value(type: number, key: string): GgufValue | null {
    if (type === stringType) return this.string();
    if (type === arrayType) return this.array(key);
    const bytes = scalarBytes[type];
    if (bytes === undefined) throw this.damaged(`key ${key} has the unknown value type ${type}`);
    return this.scalar(type, this.take(bytes));
  }

  private array(key: string): GgufValue | null {
    const type = this.u32();
    if (type === stringType) {
      const length = this.count(`texts in ${key}`, 8);
      if (length <= this.listLenMax) return Array.from({ length }, () => this.string());
      for (let i = 0; i < length; i++) this.take(this.count('bytes of text', 1));
      return null;
    }
    const bytes = scalarBytes[type];
    if (bytes === undefined) throw this.damaged(`key ${key} is a list of the unknown value type ${type}`);
    const length = this.count(`values in ${key}`, bytes);
    const start = this.take(length * bytes);
    if (length > this.listLenMax) return null;
    return Array.from({ length }, (_, i) => this.scalar(type, start + i * bytes)) as number[] | boolean[];
  }

  private scalar(type: number, at: number): number | boolean {
    switch (type) {
      case 0:
        return this.buffer.readUInt8(at);
      case 1:
        return this.buffer.readInt8(at);
      case 2:
        return this.buffer.readUInt16LE(at);
      case 3:
        return this.buffer.readInt16LE(at);
      case 4:
        return this.buffer.readUInt32LE(at);
      case 5:
        return this.buffer.readInt32LE(at);
      case 6:
        return this.buffer.readFloatLE(at);
      case 7:
        return this.buffer.readUInt8(at) !== 0;
      case 10:
        return Number(this.buffer.readBigUInt64LE(at));
      case 11:
        return Number(this.buffer.readBigInt64LE(at));
      default:
        return this.buffer.readDoubleLE(at);
    }
  }
}
