/** How large everything is: the bounds of a server's steps and its KV cache, from the model, the flags and the memory that is free. */
import { startError } from '../errors.js';
import { formatBytes } from '../model/checkpoint.js';
import type { LoadedModel } from '../model/spec.js';
import type { StepDims } from '../step/layout.js';
import { beamsMax } from './beam-search.js';

export interface SizingOptions {
  /** null: as long as the model allows; auto: that, or what the KV cache holds where it is less. */
  readonly maxModelLen: number | 'auto' | null;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number | null;
  readonly blockSize: number;
  readonly kvCacheMemoryBytes: number | null;
  /** Blocks of the KV cache, in place of a size of it. */
  readonly numBlocks: number | null;
  /** Part of all memory that weights, KV cache and the rest may take together, in place of a size. null: on GPUs `gpuMemoryUtilizationDefault`. */
  readonly memoryUtilization: number | null;
  readonly onGpus: boolean;
  readonly maxLogprobs: number;
  readonly worldSize: number;
  readonly chunkedPrefill: boolean;
  readonly maxDrafts: number;
  /** Whether hidden states are pooled in place of tokens being made. */
  readonly pools: boolean;
}

/** Tokens of a step where nothing else is said. A longer one would hold up running streams for longer; on a CPU it gains no speed, on a GPU it does. */
const batchedTokensDefault = { cpu: 512, gpu: 2048 };
/** That of vLLM. */
const gpuMemoryUtilizationDefault = 0.92;

/** What weights and KV cache share: the machine's memory, or that of one rank's GPU. Sizes in bytes. */
export interface MemoryPlace {
  /** "memory", "GPU 0". */
  readonly name: string;
  readonly total: number;
  readonly free: number;
  readonly weights: number;
  /** Beside weights and KV cache: activations, the process or what libraries take. */
  readonly reserve: number;
  /** K and V of one token, as far as they lie here; 0: none do. */
  readonly kvBytesPerToken: number;
}

/** The bounds of steps of the longest sequences that may be asked for, whatever the memory holds: numBlocks is 1. */
export function largestSteps(model: LoadedModel, options: SizingOptions): StepDims {
  const { maxNumSeqs } = options;
  const maxSeqLen = typeof options.maxModelLen === 'number' ? options.maxModelLen : model.spec.maxPositions;
  const usual = options.onGpus ? batchedTokensDefault.gpu : batchedTokensDefault.cpu;
  const longest = options.chunkedPrefill ? usual : Math.max(usual, maxSeqLen);
  return {
    // A row is free again one step after its sequence has ended, so some more than run at once.
    maxRows: maxNumSeqs + Math.max(8, Math.ceil(maxNumSeqs / 4)),
    maxTokens: options.maxNumBatchedTokens ?? Math.max(longest, maxNumSeqs),
    maxSeqLen,
    blockSize: options.blockSize,
    numBlocks: 1,
    maxDrafts: options.maxDrafts,
    maxLogprobs: Math.max(options.maxLogprobs, 2 * beamsMax),
    worldSize: options.worldSize,
    pooledLen: options.pools ? model.spec.dims.hidden : 0,
  };
}

/**
 * `places`: one, or one of each rank; blocks are those that every one of them holds. Throws a start error when one does not hold the weights, or not
 * one sequence of the longest length.
 */
export function sizeSteps(model: LoadedModel, places: readonly MemoryPlace[], options: SizingOptions): StepDims {
  const largest = largestSteps(model, options);
  const { blockSize, maxSeqLen: wantedLen } = largest;
  const blocksWanted = Math.ceil(wantedLen / blockSize) * options.maxNumSeqs;
  const rooms = places.map((place) => kvRoom(place, blocksWanted, options));
  const least = rooms.reduce((a, b) => (b.numBlocks < a.numBlocks ? b : a));
  // Where no rank has a KV head there is nothing to hold.
  const numBlocks = Number.isFinite(least.numBlocks) ? least.numBlocks : blocksWanted;
  const maxSeqLen = options.maxModelLen === 'auto' ? Math.max(1, Math.min(wantedLen, numBlocks * blockSize)) : wantedLen;
  const blocksPerSeq = Math.ceil(maxSeqLen / blockSize);
  if (numBlocks < blocksPerSeq) {
    const fits = numBlocks * blockSize;
    const shorter = fits === 0 ? '' : `set --max-model-len ${fits} or less, or `;
    const where = options.onGpus ? ` of ${least.place.name}` : '';
    throw startError(
      `the KV cache of ${formatBytes(least.kvBytes)}${where} holds ${fits} tokens, and one sequence may have ${maxSeqLen} (${formatBytes(blocksPerSeq * least.blockBytes)}): ` +
        `${shorter}raise ${options.onGpus && options.kvCacheMemoryBytes === null ? '--gpu-memory-utilization' : '--kv-cache-memory-bytes'}`,
      { param: 'max-model-len' },
    );
  }
  return { ...largest, maxSeqLen, numBlocks };
}

interface KvRoom {
  readonly place: MemoryPlace;
  readonly kvBytes: number;
  readonly blockBytes: number;
  readonly numBlocks: number;
}

/** What of the KV cache lies in `place`. */
function kvRoom(place: MemoryPlace, blocksWanted: number, options: SizingOptions): KvRoom {
  const { onGpus, numBlocks } = options;
  const blockBytes = place.kvBytesPerToken * options.blockSize;
  const asked = numBlocks === null ? options.kvCacheMemoryBytes : numBlocks * blockBytes;
  const part = asked === null ? (options.memoryUtilization ?? (onGpus ? gpuMemoryUtilizationDefault : null)) : null;
  const freeBytes = Math.min(place.free, place.total * (part ?? 1));
  const left = freeBytes - place.weights - place.reserve;
  if (left <= 0) {
    const whose = part === null || place.free < place.total * part ? 'free' : 'theirs (--gpu-memory-utilization)';
    const [where, remedy] = onGpus
      ? [
          ` of ${place.name}`,
          `with the ${formatBytes(place.reserve)} of a step they do not fit: use more GPUs (--tensor-parallel-size) or a smaller model`,
        ]
      : [' of memory', 'use a smaller or a quantised model'];
    throw startError(
      `the weights take ${formatBytes(place.weights)} and ${formatBytes(Math.max(0, freeBytes))}${where} are ${whose}; ${remedy}`,
    );
  }
  const kvBytes = asked ?? (part === null ? Math.min(blocksWanted * blockBytes, left / 2) : left);
  if (kvBytes > left) {
    const flag = numBlocks === null ? 'kv-cache-memory-bytes' : 'num-gpu-blocks-override';
    const where = onGpus ? ` on ${place.name}` : '';
    throw startError(`--${flag} asks for ${formatBytes(kvBytes)}; beside the weights ${formatBytes(left)} are free${where}`, {
      param: flag,
    });
  }
  return { place, kvBytes, blockBytes, numBlocks: blockBytes === 0 ? Number.POSITIVE_INFINITY : Math.floor(kvBytes / blockBytes) };
}
