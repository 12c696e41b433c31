/**
 * Reads the headers of .safetensors files: a length, a JSON table, then the bytes of the tensors with no gap between them
 * (https://github.com/huggingface/safetensors). One file, or several with an index. Bytes of weights are never read here.
 * What of a header is wrong (truncated, overlapping, of another size than its shape) is one start error with file and tensor.
 */
import { existsSync, fstatSync, readSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { startError } from '../errors.js';
import { type Checkpoint, formatBytes, type StoredTensor } from './checkpoint.js';
import { isFields, readJsonObject } from './config.js';
import { withOpenFile } from './open-file.js';

/** The format's own limit. */
const headerBytesMax = 100_000_000;
const dimensionsMax = 8;

// biome-ignore format: a table
const bitsOf: Readonly<Record<string, number>> = {
  BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F4: 4, I16: 16, U16: 16, F16: 16, BF16: 16,
  I32: 32, U32: 32, F32: 32, F64: 64, I64: 64, U64: 64, C64: 64,
};

/** The .safetensors files of a folder: model.safetensors, or those that model.safetensors.index.json names. */
export function readSafetensorsFolder(folder: string): Checkpoint {
  const index = join(folder, 'model.safetensors.index.json');
  const single = join(folder, 'model.safetensors');
  if (existsSync(single)) return readFiles([single], null);
  if (existsSync(index)) return readSharded(folder, index);
  throw startError(
    `${folder} holds no model.safetensors and no model.safetensors.index.json; only safetensors and GGUF weights can be loaded`,
  );
}

function readSharded(folder: string, index: string): Checkpoint {
  const map = readJsonObject(index).weight_map;
  if (!isFields(map) || Object.keys(map).length === 0) throw startError(`${index}: weight_map is missing or empty`);
  const fileOf = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    // A path that leaves the folder would read what the model's author has no business with.
    if (typeof file !== 'string' || file !== basename(file) || !file.endsWith('.safetensors')) {
      throw startError(
        `${index}: the file of tensor ${tensor} is ${JSON.stringify(file)}; expected the name of a .safetensors file in the same folder`,
      );
    }
    fileOf.set(tensor, file);
  }
  const names = [...new Set(fileOf.values())].sort();
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length > 0)
    throw startError(`${folder}: ${missing.length} of ${names.length} weight files are missing, among them ${missing[0]}`);
  return readFiles(
    names.map((name) => join(folder, name)),
    { index, fileOf },
  );
}

function readFiles(paths: readonly string[], expected: { index: string; fileOf: ReadonlyMap<string, string> } | null): Checkpoint {
  const files = paths.map((path) => resolve(path));
  const tensors = new Map<string, StoredTensor>();
  files.forEach((path, file) => {
    for (const tensor of readHeader(path, file)) {
      const other = tensors.get(tensor.name);
      if (other) throw startError(`${path}: tensor ${tensor.name} stands in ${files[other.file]} too`);
      tensors.set(tensor.name, tensor);
    }
  });
  for (const [name, file] of expected?.fileOf ?? []) {
    const tensor = tensors.get(name);
    if (!tensor || basename(files[tensor.file] as string) !== file) {
      throw startError(`${expected?.index}: tensor ${name} should stand in ${file}, but it is not there`);
    }
  }
  return { files, tensors };
}

/** The tensors of one file, in the order of their bytes. */
export function readHeader(path: string, file = 0): StoredTensor[] {
  return withOpenFile(path, (fd) => {
    const fileBytes = fstatSync(fd).size;
    const start = Buffer.alloc(8);
    if (readSync(fd, start, 0, 8, 0) < 8) throw startError(`${path} is truncated: it ends before its header (${formatBytes(fileBytes)})`);
    const headerBytes = start.readBigUInt64LE();
    if (headerBytes > headerBytesMax) {
      throw startError(
        `${path} is not a safetensors file, or damaged: its header would have ${headerBytes} bytes (at most ${headerBytesMax})`,
      );
    }
    const dataStart = 8 + Number(headerBytes);
    if (dataStart > fileBytes) {
      throw startError(`${path} is truncated: its header needs ${formatBytes(dataStart)}, the file has ${formatBytes(fileBytes)}`);
    }
    const header = Buffer.alloc(Number(headerBytes));
    readSync(fd, header, 0, header.length, 8);
    return parseHeader(path, file, header.toString('utf8'), dataStart, fileBytes);
  });
}

function parseHeader(path: string, file: number, text: string, dataStart: number, fileBytes: number): StoredTensor[] {
  let table: unknown;
  try {
    table = JSON.parse(text);
  } catch (cause) {
    throw startError(`${path} is damaged: its header is not valid JSON (${(cause as Error).message})`, { cause });
  }
  if (!isFields(table)) throw startError(`${path} is damaged: its header is not an object`);
  refuseDuplicates(path, text, table);
  const entries = Object.entries(table)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => parseEntry(path, file, name, entry))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  let previous = 'the header';
  for (const { tensor, begin, end: own } of entries) {
    if (begin !== end)
      throw startError(
        `${path} is damaged: the bytes of tensor ${tensor.name} ${begin < end ? 'overlap' : 'leave a gap after'} those of ${previous}`,
      );
    end = own;
    previous = tensor.name;
  }
  if (dataStart + end > fileBytes) {
    throw startError(`${path} is truncated: its tensors need ${dataStart + end} bytes, the file has ${fileBytes}; download it again`);
  }
  if (dataStart + end < fileBytes) throw startError(`${path} is damaged: ${fileBytes - dataStart - end} bytes follow the last tensor`);
  return entries.map(({ tensor, begin }) => ({ ...tensor, byteOffset: dataStart + begin }));
}

/** JSON.parse keeps the last of equal keys without a word. Only entries hold `data_offsets`, so their number tells. */
function refuseDuplicates(path: string, text: string, table: Readonly<Record<string, unknown>>): void {
  const written = text.split('"data_offsets"').length - 1;
  const kept = Object.values(table).filter((entry) => isFields(entry) && 'data_offsets' in entry).length;
  if (written > kept) throw startError(`${path} is damaged: its header names a tensor twice`);
}

function parseEntry(path: string, file: number, name: string, entry: unknown): { tensor: StoredTensor; begin: number; end: number } {
  const damaged = (what: string) => startError(`${path} is damaged: tensor ${name.slice(0, 200)} ${what}`);
  if (!isFields(entry)) throw damaged('has no table entry');
  const { dtype, shape, data_offsets: offsets } = entry;
  const isSize = (v: unknown): v is number => typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;
  const bits = typeof dtype === 'string' && Object.hasOwn(bitsOf, dtype) ? bitsOf[dtype] : undefined;
  if (bits === undefined) throw damaged(`has the unknown dtype ${JSON.stringify(dtype)?.slice(0, 40)}`);
  if (!Array.isArray(shape) || shape.length > dimensionsMax || !shape.every(isSize)) throw damaged('has no valid shape');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) throw damaged('has no valid data_offsets');
  const [begin, end] = offsets as [number, number];
  const bytes = (shape.reduce((product: number, n: number) => product * n, 1) * bits) / 8;
  if (end - begin !== bytes)
    throw damaged(`has ${end - begin} bytes, but its shape [${shape.join(', ')}] of ${String(dtype)} needs ${bytes}`);
  return { tensor: { name, file, byteOffset: 0, type: (dtype as string).toLowerCase(), shape }, begin, end };
}
