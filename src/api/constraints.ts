/** What a request's output must be and must not hold, as the engine takes it: the grammar compiled, bad words as ids. */
import { LockstepError } from '../errors.js';
import type { CompiledGrammar } from '../grammar/compiled.js';
import type { GrammarSpec } from '../grammar/spec.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Serving } from './context.js';

export interface Constraints {
  readonly grammar: CompiledGrammar | null;
  readonly badWords: readonly (readonly number[])[];
}

const none: Constraints = { grammar: null, badWords: [] };
/** Ids of all bad words, and one more for each. */
export const badWordsLenMax = 2048;

export async function constraintsOf(
  { model, grammars }: Serving,
  { grammar, badWords }: { readonly grammar: GrammarSpec | null; readonly badWords: readonly string[] },
): Promise<Constraints> {
  if (grammar === null && badWords.length === 0) return none;
  return {
    grammar: grammar === null ? null : await grammars.compile(grammar),
    badWords: badWords.length === 0 ? [] : await badWordIds(badWords, model.tokenizer),
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
