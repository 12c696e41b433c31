/**
 * What tokenizer.json says, as far as it is read here. GGUF metadata is brought into the same form (`gguf.ts`), so that there is one builder.
 * Field names are the file's own (https://huggingface.co/docs/tokenizers/components).
 */

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only matched between non-word characters. */
  readonly single_word: boolean;
  /** Takes the white space on its left (right) with it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Looked for in the normalised text instead of the raw one. */
  readonly normalized: boolean;
  /** Left out by `skipSpecialTokens`. */
  readonly special: boolean;
}

export type PatternDefinition = { readonly String: string } | { readonly Regex: string };

/** A normalizer, pre-tokenizer, post-processor or decoder: `type` says which, and which further fields there are. */
export interface Component {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface BpeModel {
  readonly type: 'BPE';
  readonly merges: readonly (string | readonly [string, string])[];
  /** In place of merges: SentencePiece's, by id (GGUF). */
  readonly scores?: ArrayLike<number>;
  readonly unk_token?: string | null;
  readonly fuse_unk?: boolean;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
  readonly dropout?: number | null;
}

/** Encoded by the library. */
export interface OtherModel {
  readonly type: 'Unigram' | 'WordPiece' | 'WordLevel';
}

export interface TokenizerDefinition {
  /** The model's own vocabulary, both ways; added tokens may stand in it or not. */
  readonly vocab: ReadonlyMap<string, number>;
  readonly tokens: readonly (string | undefined)[];
  readonly addedTokens: readonly AddedToken[];
  readonly normalizer: Component | null;
  readonly preTokenizer: Component | null;
  readonly postProcessor: Component | null;
  readonly decoder: Component | null;
  readonly model: BpeModel | OtherModel;
  readonly bosToken: string | null;
  readonly eosToken: string | null;
}

export type BpeDefinition = TokenizerDefinition & { readonly model: BpeModel };

export const isBpe = (definition: TokenizerDefinition): definition is BpeDefinition => definition.model.type === 'BPE';

export function tokenId({ vocab, addedTokens }: TokenizerDefinition, token: string | null): number | null {
  if (token === null) return null;
  return addedTokens.find(({ content }) => content === token)?.id ?? vocab.get(token) ?? null;
}

/** A component that is not built here. For encoding the library may still know it; for decoding it is the end. */
export class UnsupportedComponent extends Error {
  constructor(what: string) {
    super(`its ${what} is not supported`);
  }
}

export function components(value: unknown): readonly Component[] {
  if (!Array.isArray(value)) throw new UnsupportedComponent('Sequence without a list');
  return value as readonly Component[];
}
