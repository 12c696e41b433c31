/** A grammar as the ranks take it; plain data over shared memory, so that it crosses threads without being copied. */

export interface CompiledGrammar {
  /** Equal for equal grammars over one vocabulary. */
  readonly key: string;
  readonly automaton: Int32Array;
  readonly vocabulary: TokenBytes;
}

/** The bytes of every token: id is bytes[ends[id-1] … ends[id]). Tokens that are no text (special ones, gaps) have none. */
export interface TokenBytes {
  readonly bytes: Uint8Array;
  readonly ends: Int32Array;
}
