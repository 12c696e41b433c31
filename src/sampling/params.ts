/** What a request may ask of the sampler, with every field present. `api/generation.ts` has the ranges. */

export interface SamplingParams {
  /** Choices made of one prompt. */
  readonly n: number;
  /** 0: greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0: off. */
  readonly topK: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  /** 64 bits; null: the engine draws one. */
  readonly seed: bigint | null;
  /** The only ids that may be sampled; null: all. */
  readonly allowedTokenIds: readonly number[] | null;
  /** Sequences of ids that the output must not hold. */
  readonly badWords: readonly (readonly number[])[];
  /** A bound on reasoning; null: none. */
  readonly thinking: ThinkingBudget | null;
  /** Added to logits before anything else; [id, value] pairs. */
  readonly logitBias: readonly (readonly [id: number, value: number])[];
  /** null: none. k: the chosen token's own and the k best. Raw: before bias, penalties and temperature. */
  readonly numLogprobs: number | null;
  /** In place of the k best, where there are some: these k ids. */
  readonly logprobIds: readonly number[];
  /** null: none. k: of each token of the prompt, its own and the k best. */
  readonly numPromptLogprobs: number | null;
}

/** After `budget` tokens of reasoning the next ones are its end, whatever the model would have said. */
export interface ThinkingBudget {
  readonly budget: number;
  /** What the output begins with if it reasons; null: it does from its start. */
  readonly begin: ReasoningMarker | null;
  /** What ends reasoning, written by the model or forced. */
  readonly end: ReasoningMarker;
  /** What is put there where it is forced, with `end` in it; at most `markerLenMax` (step/layout.ts). */
  readonly forced: readonly number[];
}

/** What stands before or behind reasoning: one token and nothing else, or bytes (at most `markerLenMax`) however the model cuts them. */
export type ReasoningMarker = number | Uint8Array;

/** Asks nothing of the sampler: one choice, drawn from the distribution as it is. */
export const neutralSampling: SamplingParams = {
  n: 1,
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: null,
  allowedTokenIds: null,
  badWords: [],
  thinking: null,
  logitBias: [],
  numLogprobs: null,
  logprobIds: [],
  numPromptLogprobs: null,
};

/** When a sequence ends. */
export interface StopRule {
  /** End-of-sequence ids of the model; not looked at with ignoreEos. */
  readonly eosTokenIds: readonly number[];
  readonly stopTokenIds: readonly number[];
  /** Found in the text by `engine/output.ts`; the engine never sees text. */
  readonly stopStrings: readonly string[];
  readonly includeStopString: boolean;
  readonly ignoreEos: boolean;
  readonly minTokens: number;
  readonly maxTokens: number;
  /** Looked for by `engine/output.ts` too. */
  readonly repetition?: RepetitionRule | null;
}

/** A sequence of `maxTokens` ends at its length, and for no other reason. */
export function endsByLength(maxTokens: number): StopRule {
  return {
    eosTokenIds: [],
    stopTokenIds: [],
    stopStrings: [],
    includeStopString: false,
    ignoreEos: true,
    minTokens: 0,
    maxTokens,
  };
}

/** An output whose end is `minCount` times the same pattern of `minPattern` to `maxPattern` tokens goes round in circles, and ends. */
export interface RepetitionRule {
  readonly minPattern: number; // at least 1
  readonly maxPattern: number;
  readonly minCount: number; // at least 2
}
