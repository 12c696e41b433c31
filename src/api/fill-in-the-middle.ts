/**
 * suffix: text that stands behind what is to be written. A model fills the middle where it was trained with tokens that mark the three
 * parts; each family has its own, and a tokenizer that knows them as one token each says which family it is.
 */
import type { Tokenizer } from '../tokenizer/tokenizer.js';

interface Markers {
  readonly before: string;
  readonly after: string;
  readonly middle: string;
  /** What the family writes when the middle is done, besides its end of sequence. */
  readonly ends: readonly string[];
}

const families: readonly Markers[] = [
  // Qwen2.5-Coder, CodeGemma
  {
    before: '<|fim_prefix|>',
    after: '<|fim_suffix|>',
    middle: '<|fim_middle|>',
    ends: ['<|endoftext|>', '<|fim_pad|>', '<|repo_name|>', '<|file_sep|>', '<|file_separator|>'],
  },
  // StarCoder
  { before: '<fim_prefix>', after: '<fim_suffix>', middle: '<fim_middle>', ends: ['<|endoftext|>', '<file_sep>'] },
  // DeepSeek-Coder
  { before: '<｜fim▁begin｜>', after: '<｜fim▁hole｜>', middle: '<｜fim▁end｜>', ends: [] },
  // CodeLlama
  { before: '▁<PRE>', after: '▁<SUF>', middle: '▁<MID>', ends: ['▁<EOT>'] },
];

export interface MiddleFormat {
  prompt(before: string, after: string): string;
  readonly endIds: readonly number[];
}

/** How the model is asked for a middle; null: it knows no such tokens. */
export async function middleFormat(tokenizer: Tokenizer): Promise<MiddleFormat | null> {
  for (const { before, after, middle, ends } of families) {
    const ids = await Promise.all([before, after, middle].map((marker) => idOf(tokenizer, marker)));
    if (ids.includes(null)) continue;
    const endIds = await Promise.all(ends.map((marker) => idOf(tokenizer, marker)));
    return { prompt: (head, tail) => before + head + after + tail + middle, endIds: endIds.filter((id) => id !== null) };
  }
  return null;
}

async function idOf(tokenizer: Tokenizer, marker: string): Promise<number | null> {
  const ids = await tokenizer.encode(marker, { addSpecialTokens: false });
  return ids.length === 1 ? ids[0]! : null;
}
