/** A bound on reasoning, as the engine takes it: how this model begins and ends reasoning, in tokens or as a text. */
import { LockstepError } from '../errors.js';
import type { TokenBytes } from '../grammar/compiled.js';
import { reasoningStart } from '../parsing/reasoning-format.js';
import type { ReasoningMarker, ThinkingBudget } from '../sampling/params.js';
import type { Serving } from './context.js';

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
  const begin = start === 'begun' ? null : await markerOf(serving, format.begin);
  const end = await markerOf(serving, format.end);
  const needsTexts = (begin !== null && begin.text !== null) || end.text !== null;
  return { thinking: { budget, begin, end }, vocabulary: needsTexts ? await serving.grammars.vocabulary() : null };
}

async function markerOf({ model }: Serving, text: string): Promise<ReasoningMarker> {
  const id = model.markup.tokenIdOf(text);
  if (id !== null) return { ids: [id], text: null };
  const ids = [...(await model.tokenizer.encode(text, { addSpecialTokens: false }))];
  if (ids.some((each) => each >= model.vocabSize)) {
    const message = `thinking_token_budget needs a model that can write ${text}.`;
    throw new LockstepError('invalid_value', message, { param: 'thinking_token_budget' });
  }
  return { ids, text: Buffer.from(text) };
}
