/** What the readers of safetensors and GGUF have in common: a list of named tensors, each with its place in a file. */

export interface StoredTensor {
  readonly name: string;
  /** Index into `Checkpoint.files`. */
  readonly file: number;
  /** From the start of the file. */
  readonly byteOffset: number;
  /** Lower case, as the format names it: 'bf16', 'q4_k', also types that cannot be used here. */
  readonly type: string;
  /** Row-major: the last dimension is contiguous. */
  readonly shape: readonly number[];
}

export interface Checkpoint {
  /** Absolute paths. */
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** A size for messages: "94.1 MiB". */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}
