/** What a request's output must be and must not hold, as the engine takes it: the grammar compiled, bad words as ids, reasoning bounded. */
import { LockstepError } from '../errors.js';
import type { CompiledGrammar } from '../grammar/compiled.js';
import type { GrammarSpec } from '../grammar/spec.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Serving } from './context.js';
import { type Thinking, thinkingOf, unbounded } from './thinking.js';

export interface Constraints extends Thinking {
  readonly grammar: CompiledGrammar | null;
  readonly badWords: readonly (readonly number[])[];
}

const none: Constraints = { grammar: null, badWords: [], ...unbounded };
/** Ids of all bad words, and one more for each. */
export const badWordsLenMax = 2048;

/** What is asked of an output. */
interface Asked {
  readonly grammar: GrammarSpec | null;
  readonly badWords: readonly string[];
  readonly thinkingBudget: number | null;
}

/** `prompt`: as text, with what of it is the answer's beginning; whether the answer reasons is seen there. */
export async function constraintsOf(
  serving: Serving,
  { grammar, badWords, thinkingBudget }: Asked,
  prompt: { readonly text: string; readonly answerPrefix: string | null },
): Promise<Constraints> {
  if (grammar === null && badWords.length === 0 && thinkingBudget === null) return none;
  return {
    grammar: grammar === null ? null : await serving.grammars.compile(grammar),
    badWords: badWords.length === 0 ? [] : await badWordIds(badWords, serving.model.tokenizer),
    ...(await thinkingOf(serving, thinkingBudget, prompt)),
  };
}

/** Each word as it is at the start of a text and, where that is another token at the same place, behind a space; as vLLM has it. */
async function badWordIds(words: readonly string[], tokenizer: Tokenizer): Promise<number[][]> {
  const all: number[][] = [];
  let length = 0;
  for (const word of words) {
    const encode = async (text: string) => [...(await tokenizer.encode(text, { addSpecialTokens: false }))];
    const plain = await encode(word.trimStart());
    const spaced = await encode(` ${word.trimStart()}`);
    const ways = spaced[0] !== plain[0] && spaced.length === plain.length ? [plain, spaced] : [plain];
    all.push(...ways.filter((ids) => ids.length > 0));
    length += ways.reduce((sum, ids) => sum + ids.length + 1, 0);
    if (length > badWordsLenMax)
      throw new LockstepError('invalid_value', `bad_words have more than ${badWordsLenMax} tokens.`, { param: 'bad_words' });
  }
  return all;
}
