/** What the engine is asked and what it answers: plain data both ways, since both cross a thread and may later cross a process. */
import type { LockstepError } from '../errors.js';
import type { CompiledGrammar, TokenBytes } from '../grammar/compiled.js';
import type { SamplingParams, StopRule } from '../sampling/params.js';
import type { Share } from '../scheduler/fair-share.js';
import type { Pooling } from '../scheduler/sequence.js';

/** A validated request. Below api/ nobody sees HTTP or JSON. */
export interface GenerationRequest {
  /** As the client sees it: "chatcmpl-…". */
  readonly id: string;
  readonly promptTokens: Int32Array; // [promptLen], never empty
  readonly sampling: SamplingParams;
  readonly stop: StopRule;
  /** Lower runs first; ties by arrival. */
  readonly priority: number;
  /** Distinguishes otherwise equal prefixes in the prefix cache; null: shared with all. */
  readonly cacheSalt: string | null;
  /** What the output must be. Left out: any text. */
  readonly grammar?: CompiledGrammar;
  /** What the ranks must know of tokens where `sampling.thinking` names a text. */
  readonly vocabulary?: TokenBytes;
  /** With whom it takes turns in the queue; left out: with nobody. */
  readonly share?: Share;
  /** The prompt alone is computed, and its hidden states are wanted; `stop.maxTokens` is 0. Left out: tokens are wanted. */
  readonly pooling?: Pooling;
}

/** repetition: `StopRule.repetition` was met. */
export type FinishReason = 'stop' | 'length' | 'repetition' | 'abort' | 'error';

/** Log-probabilities of one position. */
export interface TokenLogprobs {
  readonly id: number;
  readonly logprob: number;
  /** 1: the likeliest. */
  readonly rank: number;
  readonly topIds: Int32Array; // [k], best first
  readonly topLogprobs: Float32Array; // [k]
}

/** New tokens of one choice, at most once a step for each choice. */
export interface ChoiceTokens {
  readonly choice: number;
  /** A plain list: most have one id, and a typed array of one takes ten times as long to make. */
  readonly ids: readonly number[];
  /** One for each id, when asked for. */
  readonly logprobs: readonly TokenLogprobs[] | null;
}

export interface ChoiceEnd {
  readonly choice: number;
  readonly finishReason: FinishReason;
  /** The stop token id that ended it; null for end-of-sequence, length, abort and error. */
  readonly stopTokenId: number | null;
  /** With 'error'. */
  readonly error: LockstepError | null;
  /** What a request with `pooling` asked for. */
  readonly pooled?: Float32Array; // [hidden]
}

/** Facts of a request that are known with its first token. */
export interface PromptFacts {
  /** Prompt tokens found in the prefix cache. */
  readonly cachedTokens: number;
  /** Milliseconds from submit to the first step that had a part of it. */
  readonly queueMs: number;
  /** One for each prompt token but the first, when asked for. */
  readonly promptLogprobs: readonly TokenLogprobs[] | null;
}
