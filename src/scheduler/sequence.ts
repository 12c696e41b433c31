/**
 * One sequence: its tokens, its row, how far it has come. Only `Scheduler` changes a sequence.
 * Its blocks are listed in its row of the shared block table; `kv-cache.ts` writes them.
 */
import type { SamplingParams, StopRule } from '../sampling/params.js';
import { entryFlag } from '../step/layout.js';
import { Acceptance } from './acceptance.js';
import type { Share } from './fair-share.js';

/** The hidden states (after the final norm) that are wanted of a prompt, once all of it is computed. */
export interface Pooling {
  /** sum: over all its tokens. first, last: of that token. */
  readonly of: 'first' | 'last' | 'sum';
  /** Where a second segment begins, for models with token types; null: there is one. */
  readonly secondSegment: number | null;
}

/** A sequence as the engine hands it over: one choice of one request. */
export interface SequenceInput {
  /** Names the sequence in outputs and in `abort`; unique among the living. Small dense numbers let the engine index an array. */
  readonly key: number;
  readonly promptTokens: Int32Array; // [promptLen], never written
  readonly sampling: SamplingParams;
  readonly choice: number;
  /** 64 bits; drawn by the engine where the request has none. */
  readonly seed: bigint;
  readonly stop: StopRule;
  /** Lower runs first. Looked at under the policy 'priority' only. */
  readonly priority: number;
  readonly cacheSalt: string | null;
  /** Left out: nobody else has sequences. */
  readonly share?: Share;
  readonly pooling?: Pooling;
  /** The ranks' number of the grammar that it follows; left out: none. */
  readonly grammar?: number;
}

/** `preempted` waits like `waiting`, but with tokens of its own and, until its last step is back, still with its row and blocks. */
export type SequenceState = 'waiting' | 'running' | 'preempted' | 'finished';

const noIds = new Int32Array(0);

export class Sequence {
  readonly key: number;
  readonly promptLen: number;
  /** The most tokens it may come to; at that length it ends with 'length'. */
  readonly endLen: number;
  /** The most tokens that it needs K and V of: not of the last one, if that is sampled. */
  readonly cacheLen: number;
  /** The order of the queue and of victims: lower first, ties by turn, then by arrival. */
  readonly priority: number;
  readonly arrival: number;
  readonly minTokens: number;
  readonly eosIds: Int32Array;
  readonly stopIds: Int32Array;

  state: SequenceState = 'waiting';
  /** Prompt, then generated ids; the caller's array until there is something to append. [capacity >= numTokens] */
  tokens: Int32Array;
  /** Tokens whose id is known here. */
  numTokens: number;
  /** Ids that dispatched steps will bring at least. */
  numPending = 0;
  /** Tokens whose K and V are in the cache or on their way there, should no draft in flight be right. */
  numScheduled = 0;
  /** Tokens whose step has come back; never more than numScheduled. */
  numProcessed = 0;
  /** Of those steps, the drafts that they may try: so many more tokens may have come than are counted here. */
  numDraftsInFlight = 0;
  /** Drafts that the step which is planned may try. */
  numDrafts = 0;
  readonly acceptance = new Acceptance();
  /** Dispatched steps that read the row; it is given back when none is left. */
  numInFlight = 0;
  /** Slot in every step array from admission to the end of the tenancy; -1: none. */
  row = -1;
  numBlocks = 0;
  /** Leading blocks known to the prefix cache, and the cache's name for the prefix that they hold. */
  numHashed = 0;
  prefix = 0;
  /** Prompt tokens found in the prefix cache at the first admission; -1 before it. */
  cachedTokens = -1;
  /** The step of the first admission; 0 before it. */
  firstStep = 0;
  /** Prompt tokens whose log-probability is delivered, counted from position 1. */
  promptScored = 0;
  numPreemptions = 0;
  /** How often a later one was admitted because this one did not fit. */
  overtaken = 0;
  /** `KvCache.version` when it last did not fit: as long as that stays the same it need not be tried again. */
  refusedAt = -1;

  constructor(
    readonly input: SequenceInput,
    arrival: number,
    priority: number,
    maxSeqLen: number,
    /** Its turn among those of equal priority; `FairShare` gives them. */
    readonly turn = arrival,
  ) {
    const { stop, promptTokens } = input;
    this.key = input.key;
    this.promptLen = promptTokens.length;
    this.endLen = Math.min(this.promptLen + stop.maxTokens, maxSeqLen);
    this.cacheLen = Math.max(this.promptLen, this.endLen - 1);
    this.priority = priority;
    this.arrival = arrival;
    this.minTokens = stop.minTokens;
    this.eosIds = stop.ignoreEos ? noIds : Int32Array.from(stop.eosTokenIds);
    this.stopIds = Int32Array.from(stop.stopTokenIds);
    this.tokens = promptTokens;
    this.numTokens = this.promptLen;
  }

  /** What is not computed has neither logits nor hidden states, so nothing is read from the cache. */
  get wantsEveryToken(): boolean {
    const { pooling } = this.input;
    return this.wantsPromptLogprobs || (pooling !== undefined && pooling.of !== 'last');
  }

  get wantsPromptLogprobs(): boolean {
    return this.input.sampling.numPromptLogprobs !== null && this.promptScored < this.promptLen - 1;
  }

  /** Tokens that a step could compute now. 0: its end is known, or nothing is left to do before a result. */
  wanted(): number {
    if (this.numScheduled < this.numTokens) return this.numTokens - this.numScheduled;
    const length = this.numTokens + this.numPending;
    return length < this.endLen ? length - this.numScheduled : 0;
  }

  /** Whether the next token to compute is the newest that was sampled, or will be. */
  isDecoding(): boolean {
    const length = this.numTokens + this.numPending;
    return length > this.promptLen && this.numScheduled === length - 1;
  }

  /** Ids that may still come behind those in flight, should no draft of these be right. */
  room(): number {
    return this.endLen - this.numTokens - this.numPending;
  }

  /** Most tokens with K and V after a step of `count` more, drafts included. */
  contextMax(count: number): number {
    return Math.min(this.numScheduled + this.numDraftsInFlight + count, this.cacheLen);
  }

  /** What a step that computes the tokens `start` … `end` - 1 of it is to pool. */
  poolFlags(start: number, end: number): number {
    switch (this.input.pooling?.of) {
      case 'first':
        return start === 0 ? entryFlag.poolFirst : 0;
      case 'last':
        return end === this.promptLen ? entryFlag.poolLast : 0;
      case 'sum':
        return entryFlag.poolSum;
      default:
        return 0;
    }
  }

  get followsGrammar(): boolean {
    return (this.input.grammar ?? 0) !== 0;
  }

  append(id: number): void {
    if (this.numTokens === this.tokens.length) {
      // Doubling, as most sequences end long before their bound.
      const grown = new Int32Array(Math.min(this.endLen, Math.max(2 * this.numTokens, this.numTokens + 64)));
      grown.set(this.tokens);
      this.tokens = grown;
    }
    this.tokens[this.numTokens++] = id;
  }
}

/** Who comes first, in the queue and among the running; victims are taken from the other end. */
export function comesBefore(a: Sequence, b: Sequence): boolean {
  if (a.priority !== b.priority) return a.priority < b.priority;
  return a.turn !== b.turn ? a.turn < b.turn : a.arrival < b.arrival;
}
