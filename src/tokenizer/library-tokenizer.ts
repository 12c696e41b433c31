/**
 * Unigram, WordPiece and WordLevel models, and BPE with parts that are not built here, by the `tokenizers` package (Hugging Face's own, in Rust).
 * It encodes asynchronously; decoding is ours, since answers are decoded id by id on the API's thread. None of the model families served needs
 * it, so it is only loaded where one does.
 */
import { createRequire } from 'node:module';
import { prebuilt } from '../prebuilt.js';
import { createTokenDecoder } from './decoder.js';
import { type TokenizerDefinition, tokenId } from './definition.js';
import { tableOf } from './token-table.js';
import type { EncodedPair, EncodeOptions } from './tokenizer.js';
import { Vocabulary } from './vocabulary.js';
import { VocabularyTokenizer } from './vocabulary-tokenizer.js';

type Library = typeof import('tokenizers');

const wellFormed = (text: string) => text.replace(/\p{Surrogate}/gu, '\ufffd');

export class LibraryTokenizer extends VocabularyTokenizer {
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly #library: InstanceType<Library['Tokenizer']>;

  private constructor(definition: TokenizerDefinition, library: InstanceType<Library['Tokenizer']>) {
    super(new Vocabulary(tableOf(definition.tokens), definition.addedTokens, createTokenDecoder(definition.decoder)));
    this.#library = library;
    this.bosToken = definition.bosToken;
    this.eosToken = definition.eosToken;
    this.bosTokenId = tokenId(definition, this.bosToken);
    this.eosTokenId = tokenId(definition, this.eosToken);
  }

  /** `json`: the text of tokenizer.json. Throws where the package has no binary for this platform. */
  static async create(json: string, definition: TokenizerDefinition): Promise<LibraryTokenizer> {
    const tokenizer = loadLibrary(definition).Tokenizer.fromString(json);
    tokenizer.disablePadding();
    tokenizer.disableTruncation();
    return new LibraryTokenizer(definition, tokenizer);
  }

  async encode(text: string, options: EncodeOptions): Promise<Int32Array> {
    const encoding = await this.#library.encode(wellFormed(text), null, { addSpecialTokens: options.addSpecialTokens });
    return Int32Array.from(encoding.getIds());
  }

  async encodePair(text: string, pair: string): Promise<EncodedPair> {
    const encoding = await this.#library.encode(wellFormed(text), wellFormed(pair), { addSpecialTokens: true });
    const second = encoding.getTypeIds().indexOf(1);
    const ids = Int32Array.from(encoding.getIds());
    return { ids, secondSegment: second < 0 ? ids.length : second };
  }
}

function loadLibrary(definition: TokenizerDefinition): Library {
  try {
    return createRequire(import.meta.url)(prebuilt('tokenizers.node') ?? 'tokenizers') as Library; // the package only chooses a binary
  } catch (cause) {
    throw new Error(`its kind (${definition.model.type}) needs the package "tokenizers", which does not load here`, { cause });
  }
}
