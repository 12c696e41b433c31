/** How large everything is: the bounds of a server's steps and its KV cache, from the model, the flags and the memory that is free. */
import { startError } from '../errors.js';
import { formatBytes } from '../model/checkpoint.js';
import { type KvCacheType, kvBytesPerToken, type LoadedModel } from '../model/spec.js';
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
  /** Part of all memory that weights, KV cache and the rest may take together, in place of a size. */
  readonly memoryUtilization: number | null;
  /** null: the type that the model is computed in. */
  readonly kvCacheType: KvCacheType | null;
  readonly maxLogprobs: number;
  readonly worldSize: number;
  readonly chunkedPrefill: boolean;
  readonly maxDrafts: number;
  /** Whether hidden states are pooled in place of tokens being made. */
  readonly pools: boolean;
}

/** Tokens of a step where nothing else is said: a longer one would hold up running streams for longer, and gains no speed on a CPU. */
const batchedTokensDefault = 512;
/** Free memory beside weights and KV cache: activations, the process itself. */
const reserveBytes = 150 * 2 ** 20;

/** In bytes. */
export interface Memory {
  readonly total: number;
  readonly free: number;
}

/** Throws a start error when the memory does not hold the weights, or not one sequence of the longest length. */
export function sizeSteps(model: LoadedModel, weightBytes: number, memory: Memory, options: SizingOptions): StepDims {
  const { maxNumSeqs, blockSize, worldSize, maxLogprobs } = options;
  const blockBytes = kvBytesPerToken(model.spec, options.kvCacheType ?? model.computeType) * blockSize;
  const asked = options.numBlocks === null ? options.kvCacheMemoryBytes : options.numBlocks * blockBytes;
  const part = asked === null ? options.memoryUtilization : null;
  const freeBytes = Math.min(memory.free, memory.total * (part ?? 1));
  const left = freeBytes - weightBytes - reserveBytes;
  if (left <= 0) {
    throw startError(
      `the weights take ${formatBytes(weightBytes)} and ${formatBytes(freeBytes)} of memory are ${part === null ? 'free' : 'theirs (--gpu-memory-utilization)'}; use a smaller or a quantised model`,
    );
  }
  const wantedLen = typeof options.maxModelLen === 'number' ? options.maxModelLen : model.spec.maxPositions;
  const blocksWanted = Math.ceil(wantedLen / blockSize);
  const kvBytes = asked ?? (part === null ? Math.min(blocksWanted * maxNumSeqs * blockBytes, left / 2) : left);
  if (kvBytes > left) {
    const flag = options.numBlocks === null ? 'kv-cache-memory-bytes' : 'num-gpu-blocks-override';
    throw startError(`--${flag} asks for ${formatBytes(kvBytes)}; beside the weights ${formatBytes(left)} are free`, { param: flag });
  }
  const numBlocks = Math.floor(kvBytes / blockBytes);
  const maxSeqLen = options.maxModelLen === 'auto' ? Math.max(1, Math.min(wantedLen, numBlocks * blockSize)) : wantedLen;
  const blocksPerSeq = Math.ceil(maxSeqLen / blockSize);
  if (numBlocks < blocksPerSeq) {
    const fits = numBlocks * blockSize;
    const shorter = fits === 0 ? '' : `set --max-model-len ${fits} or less, or `;
    throw startError(
      `the KV cache of ${formatBytes(kvBytes)} holds ${fits} tokens, and one sequence may have ${maxSeqLen} (${formatBytes(blocksPerSeq * blockBytes)}): ` +
        `${shorter}raise --kv-cache-memory-bytes`,
      { param: 'max-model-len' },
    );
  }
  const longest = options.chunkedPrefill ? batchedTokensDefault : Math.max(batchedTokensDefault, maxSeqLen);
  return {
    // A row is free again one step after its sequence has ended, so some more than run at once.
    maxRows: maxNumSeqs + Math.max(8, Math.ceil(maxNumSeqs / 4)),
    maxTokens: options.maxNumBatchedTokens ?? Math.max(longest, maxNumSeqs),
    maxSeqLen,
    blockSize,
    numBlocks,
    maxDrafts: options.maxDrafts,
    maxLogprobs: Math.max(maxLogprobs, 2 * beamsMax),
    worldSize,
    pooledLen: options.pools ? model.spec.dims.hidden : 0,
  };
}
