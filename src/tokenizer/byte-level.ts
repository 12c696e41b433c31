/**
 * Words of byte-level vocabularies (GPT-2, Llama 3, Qwen) to ids, by tiktoken. Its ranks are the order of merging: the 256 bytes, then each
 * merge's result. The words that it cannot do right or fast are left to the merger of `bpe.ts`, as are merges that are no such ranking.
 */
import { Tiktoken } from 'tiktoken/lite';
import type { PairTable } from './bpe.js';
import { fromByteAlphabet } from './byte-alphabet.js';

/** tiktoken is quadratic in a word's length: 0.3 ms for 256 Chinese characters, 150 ms for 4,096. From about here on the heap is faster. */
const wordLenMax = 256;

export class TiktokenWords {
  readonly #tokens: readonly (string | undefined)[];
  /** [ranks] -1: a byte that the vocabulary lacks. tiktoken needs a rank for it, or it ends with a trap. */
  readonly #ids: Int32Array;
  #engine: Tiktoken | null = null;

  private constructor(tokens: readonly (string | undefined)[], ids: Int32Array) {
    this.#tokens = tokens;
    this.#ids = ids;
    // Building takes 60 ms (SmolLM2) to 200 ms (Qwen3), half as long as all the rest of loading. So it waits until the thread has nothing to do,
    // which at a server's start is while the weights load. A text that comes before builds it at once.
    setImmediate(() => this.#built()).unref();
  }

  /** `byteIds`: [256], -1 for a byte that the vocabulary lacks. Null where tiktoken's rule would not be that of the merges. */
  static create(tokens: readonly (string | undefined)[], byteIds: Int32Array, merges: PairTable): TiktokenWords | null {
    const ids = idsByRank(tokens.length, byteIds, merges);
    return ids === null ? null : new TiktokenWords(tokens, ids);
  }

  /** The ids, or null for a word that is too long or holds a byte that the vocabulary lacks. */
  encode(word: string): Int32Array | null {
    if (word.length > wordLenMax) return null;
    const ids = new Int32Array(this.#built().encode_ordinary(word).buffer);
    for (let i = 0; i < ids.length; i++) {
      ids[i] = this.#ids[ids[i]!]!;
      if (ids[i]! < 0) return null;
    }
    return ids;
  }

  /** Words are cut already: the pattern takes everything. tiktoken itself frees the memory of an engine that is no longer reachable. */
  #built(): Tiktoken {
    if (this.#engine === null) {
      const ranks = Array.from(this.#ids, (id, rank) =>
        Buffer.from(rank < 256 ? [rank] : fromByteAlphabet(this.#tokens[id]!)).toString('base64'),
      );
      this.#engine = new Tiktoken(`! 0 ${ranks.join(' ')}`, {}, '[\\s\\S]+');
    }
    return this.#engine;
  }
}

/**
 * [ranks] the ids in the order of merging. tiktoken joins any neighbours that are a token together, the lowest rank first. Merges that training
 * wrote say the same: those of one result stand together, and one of them joins what is known by then. Null for others.
 */
function idsByRank(vocabSize: number, byteIds: Int32Array, { left, right, result }: PairTable): Int32Array | null {
  const ids = [...byteIds];
  const ranks = new Int32Array(vocabSize).fill(-1);
  for (const [byte, id] of byteIds.entries()) if (id >= 0) ranks[id] = byte;
  let reached = true;
  for (let i = 0; i < result.length; i++) {
    const id = result[i]!;
    if (ranks[id]! < 0) {
      if (!reached) return null;
      reached = false;
      ranks[id] = ids.push(id) - 1;
    } else if (ranks[id] !== ids.length - 1) return null;
    const known = (part: number) => ranks[part]! >= 0 && ranks[part]! < ranks[id]!;
    reached ||= known(left[i]!) && known(right[i]!);
  }
  return reached ? Int32Array.from(ids) : null;
}
