/** A bound on reasoning, as the engine takes it: how this model begins and ends reasoning, in tokens or as a text. */
import { LockstepError } from '../errors.js';
import type { TokenBytes } from '../grammar/compiled.js';
import { reasoningStart } from '../parsing/reasoning-format.js';
import type { ReasoningMarker, ThinkingBudget } from '../sampling/params.js';
import type { Serving } from './context.js';
import type { ModelMarkup } from './model-markup.js';

export interface Thinking {
  readonly thinking: ThinkingBudget | null;
  /** Where a marker is a text: the texts of all tokens. */
  readonly vocabulary: TokenBytes | null;
}

export const unbounded: Thinking = { thinking: null, vocabulary: null };

/** `prompt`: as `reasoningStart` has it. `budget`: null, or checked by `generation.ts`: the model reasons. */
export async function thinkingOf(
  serving: Serving,
  budget: number | null,
  prompt: { readonly text: string; readonly answerPrefix: string | null },
): Promise<Thinking> {
  const format = serving.model.markup.reasoningFormat;
  if (budget === null || format === null) return unbounded;
  const start = reasoningStart(format, prompt.text, prompt.answerPrefix);
  if (start === 'over') return unbounded;
  const { markup } = serving.model;
  const begin = start === 'begun' ? null : markerOf(markup, format.begin);
  const end = markerOf(markup, format.end);
  const { forcedReasoningEnd: phrase } = markup;
  const forced = typeof end === 'number' && phrase === null ? [end] : await idsOf(serving, phrase ?? format.end);
  const needsTexts = [begin, end].some((marker) => marker !== null && typeof marker !== 'number');
  return { thinking: { budget, begin, end, forced }, vocabulary: needsTexts ? await serving.grammars.vocabulary() : null };
}

const markerOf = (markup: ModelMarkup, text: string): ReasoningMarker => markup.tokenIdOf(text) ?? Buffer.from(text);

async function idsOf({ model }: Serving, text: string): Promise<readonly number[]> {
  const ids = [...(await model.tokenizer.encode(text, { addSpecialTokens: false }))];
  if (ids.every((each) => each < model.vocabSize)) return ids;
  const message = `thinking_token_budget needs a model that can write ${text}.`;
  throw new LockstepError('invalid_value', message, { param: 'thinking_token_budget' });
}
