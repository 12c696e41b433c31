/** Every function of the native addon, typed. `load.ts` finds the file. */
import type { KvCacheType, ModelSpec, WeightMap } from '../model/spec.js';
import type { StepDims } from '../step/layout.js';

/** What one rank owns of the model; made by `parallel/sharding.ts`. Ranges are [first, count]. */
export interface RankShard {
  readonly mode: 'gather' | 'reduce';
  readonly rank: number;
  readonly worldSize: number;
  /** reduce: heads whose q rows and o columns are here. In gather mode [0, heads]: the KV cache is one arena for all ranks. */
  readonly heads: readonly [number, number];
  /** reduce: KV heads that those q heads read (held by several ranks where they outnumber the KV heads). */
  readonly kvHeads: readonly [number, number];
  /** reduce, one a layer: rows of gate and up, columns of down (of each expert in a layer of experts). */
  readonly intermediate: readonly (readonly [number, number])[];
  /** reduce: rows of the embedding and the head. */
  readonly vocab: readonly [number, number];
}

export interface GroupOptions {
  readonly dims: StepDims;
  readonly mode: 'gather' | 'reduce';
  readonly spec: ModelSpec;
  readonly kvCacheType: KvCacheType;
  /** Compute threads of each rank, its own thread included. */
  readonly threadsPerRank: number;
  /** After so long without progress of the other ranks a wait gives up and the step fails. */
  readonly stepTimeoutMs: number;
  /** The ranks are on GPUs, rank r on device r, in reduce mode; absent: on the CPU. */
  readonly gpu?: GpuOptions;
}

/** Libraries and choices of ranks on GPUs. */
export interface GpuOptions {
  /** A file; '': it is looked for. */
  readonly nccl: string;
  /** The same of cuBLASLt, which makes products of many rows where it is there. */
  readonly cublasLt: string;
  /** Folders of Python environments and the like, below which it is looked for. */
  readonly roots: readonly string[];
  /** Who sums over ranks: kernels that read the other GPUs' memory (peers), which need no NCCL and make every sum, those of products too, in one order; NCCL (library), or what is quicker. */
  readonly sums: 'quickest' | 'peers' | 'library';
  /** Short steps are recorded as graphs, and launched whole from then on. */
  readonly records: boolean;
  /** All ranks are on GPU 0, which scripts/gpu-check has in place of several. */
  readonly oneDevice: boolean;
}

/** A rank's GPU before anything is on it, and what the rank needs there beside the KV cache. In bytes. */
export interface MeasuredGpu {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly weightBytes: number;
  /** Activations and what else a step needs. */
  readonly stepBytes: number;
}

export interface PackedUse {
  readonly used: boolean;
  readonly problem: string | null;
}

/** A rank's seat in a group. Methods are called from the rank's own thread; none throws, errors come back as text. */
export interface NativeRank {
  /** Reads, cuts and packs this rank's weights, or takes them from `packed`, a file that `saveWeights` wrote of the same shard and map.
   *  null, or what is wrong. Every rank must be loaded before the first step. */
  load(shard: RankShard, weights: WeightMap, packed?: string | null): string | null;
  /** Whether `load` took the packed file; `problem`: what is wrong with one that is there. */
  packedUse(): PackedUse;
  /** Runs the plan of `epoch` (slot epoch & 1) and writes its result. 0, or a fault code. Blocks for the length of the step. */
  step(epoch: number): number;
  /** Text of the last fault. */
  fault(): string;
  /** Bytes of packed weights held by this rank. */
  weightBytes(): number;
  close(): void;
}

/** One output that follows a grammar, as a rank's row does; for tests. */
export interface NativeGrammarRun {
  /** Bit id & 31 of word id >> 5 for each token that may come; null: beyond the bounds of a grammar. */
  mask(): Uint32Array | null;
  /** The token has come. false: it may not. */
  push(id: number): boolean;
  isComplete(): boolean;
  /** Complete, and nothing may follow. */
  isExhausted(): boolean;
  /** The token that must come next; -1: none must. */
  forced(): number;
  reset(): void;
}

export interface NativeInfo {
  /** Instruction set that the kernels use: 'amx', 'avx512', 'avxvnni', 'avx2', 'neon_bf16', 'neon' or 'scalar'. LOCKSTEP_ISA overrides it downwards. */
  readonly isa: string;
  /** Those that this CPU can run. */
  readonly available: readonly string[];
  /** Cores this process may use: affinity and cgroup quota. */
  readonly cores: number;
  readonly compiler: string;
}

export interface LibraryQuery {
  /** Folders of Python environments and the like, below which libraries are looked for. */
  readonly roots: readonly string[];
  /** Files; '': a search. */
  readonly nccl: string;
  readonly cublasLt: string;
}

/** A library that is opened when it is there. */
export interface NativeLibrary {
  /** As the library counts; null: none was taken. */
  readonly version: number | null;
  readonly path: string;
  /** 'path: why', of those that were there or asked for. */
  readonly refused: readonly string[];
}

export interface NativeDevices {
  /** Why no GPU can be used; null: there are `devices`. */
  readonly problem: string | null;
  /** As CUDA counts: 13000 is 13.0. null: a build without CUDA; no driver. */
  readonly runtimeVersion: number | null;
  readonly driverVersion: number | null;
  readonly devices: readonly {
    readonly name: string;
    readonly busId: string;
    readonly capability: string;
    readonly multiprocessors: number;
    readonly memoryBytes: number;
  }[];
  /** [device][peer] whether one reaches the other's memory, as the driver says. */
  readonly peers: readonly (readonly boolean[])[];
}

export interface NativeDeviceLibraries {
  readonly nccl: NativeLibrary;
  readonly cublasLt: NativeLibrary;
}

export interface NativeAddon {
  info(): NativeInfo;
  /** What of CUDA is on this machine. */
  devices(): NativeDevices;
  /** The libraries for it. Throws only when asked wrongly. */
  deviceLibraries(query: LibraryQuery): NativeDeviceLibraries;
  /** GPU `shard.rank`, and what that rank of a group of such options needs. Rejects with what CUDA says or is wrong with the weights. */
  measureGpu(options: GroupOptions, shard: RankShard, weights: WeightMap): Promise<MeasuredGpu>;
  /** Ends the process, and waits for no thread. */
  exitNow(status: number): never;
  /** What all ranks of a model share: step buffer, communicator, arena. Returns its handle, valid in every thread of the process.
   *  `offsets` are the byte offsets of `StepLayout.placements`. */
  createGroup(options: GroupOptions, shared: Uint8Array, offsets: Float64Array): number;
  /** Makes every wait of the group return; ranks must have left their steps before. */
  destroyGroup(group: number): void;
  /** Wakes every rank that waits inside a step, from any thread; its step ends with a fault. */
  abortGroup(group: number): void;
  /** What the group's grammars are over: token id is bytes[ends[id-1] … ends[id]), empty where it is no text. Once, before `addGrammar`. */
  setVocabulary(group: number, bytes: Uint8Array, ends: Int32Array): void;
  /** From now on rows may name the compiled grammar by this number, from 1 on; until `removeGrammar`, though rows that began before keep it. */
  addGrammar(group: number, id: number, automaton: Int32Array): void;
  removeGrammar(group: number, id: number): void;
  createGrammarRun(bytes: Uint8Array, ends: Int32Array, automaton: Int32Array): NativeGrammarRun;
  createRank(group: number, rank: number): NativeRank;
  /** Writes the packed weights of a loaded rank to a new file, on a thread of its own. Rejects with what the system says. */
  saveWeights(group: number, rank: number, path: string): Promise<void>;
  /** Another descriptor of the same open file or socket, closed by itself. Throws what the system says. */
  duplicateDescriptor(descriptor: number): number;
  /** The bytes of `rows` rows of `cols` values of a GGUF or float type as float32; for tests. */
  dequantize(type: string, bytes: Uint8Array, count: number): Float32Array;
}
