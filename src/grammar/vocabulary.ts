/** What of a tokenizer a grammar needs: the bytes of its tokens, and the names of those that are no text. */
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { TokenBytes } from './compiled.js';

export interface GrammarVocabulary {
  readonly tokens: TokenBytes;
  /** Special tokens that a marker in a grammar may name: id by text. Not those that end a sequence. */
  readonly specialTokens: ReadonlyMap<string, number>;
}

/**
 * `endIds`: tokens that end a sequence. They come where a grammar is complete, and never as a part of its text. `modelVocab`: ids from there
 * on have no logits. 20 to 300 ms.
 */
export function grammarVocabulary(tokenizer: Tokenizer, endIds: readonly number[], modelVocab: number): GrammarVocabulary {
  const ending = new Set(endIds);
  const specialTokens = new Map<string, number>();
  const texts: Uint8Array[] = [];
  let size = 0;
  const numTokens = Math.min(tokenizer.vocabSize, modelVocab);
  const ends = new Int32Array(new SharedArrayBuffer(4 * numTokens));
  for (let id = 0; id < numTokens; id++) {
    const isSpecial = tokenizer.isSpecial(id);
    if (isSpecial && !ending.has(id) && tokenizer.tokenText(id) !== '') specialTokens.set(tokenizer.tokenText(id), id);
    if (!isSpecial && !ending.has(id)) {
      const bytes = tokenizer.tokenBytes(id);
      texts.push(bytes);
      size += bytes.length;
    }
    ends[id] = size;
  }
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  let at = 0;
  for (const text of texts) {
    bytes.set(text, at);
    at += text.length;
  }
  return { tokens: { bytes, ends }, specialTokens };
}
