/**
 * Grammars of requests -> compiled, in a thread of their own with bounds on time and size, and kept by their content. A server without
 * grammars pays nothing: the thread, with a tokenizer of its own, starts with the first one and goes when it is idle.
 */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import { LockstepError } from '../errors.js';
import { compileGrammar } from '../grammar/compile.js';
import type { CompiledGrammar, TokenBytes } from '../grammar/compiled.js';
import { fieldOf, type GrammarSpec } from '../grammar/spec.js';
import { type GrammarVocabulary, grammarVocabulary } from '../grammar/vocabulary.js';
import type { PreparationSource, ServedModel } from './served-model.js';

/** Grammars that wait for the thread; one more is answered 429. */
export const compileQueueLenMax = 64;
/** Longest that one grammar may take, and most memory of the thread. */
export const compileMs = 10_000;
const heapMegabytesMax = 1024;
const idleMs = 60_000;
/** Compiled grammars that are kept. */
export const keptGrammarsMax = 256;
const keptBytesMax = 64 << 20;

export interface CompileSource {
  readonly preparation: PreparationSource;
  readonly endIds: readonly number[];
  readonly modelVocab: number;
}

/** An error of the request crosses the threads as its message and field; any other rejects the task. */
export type CompileResult =
  | { readonly automaton: Int32Array; readonly tokens: TokenBytes }
  | { readonly error: string; readonly param: string | null };

export type Compile = (spec: GrammarSpec) => Promise<CompiledGrammar>;

export class GrammarCompiler {
  readonly #model: ServedModel;
  readonly #elsewhere: Compile | null;
  #pool: Promise<Piscina<GrammarSpec, CompileResult>> | null = null;
  /** By content, in the order of last use; one that is being compiled is waited for by all who want it. */
  readonly #kept = new Map<string, Promise<CompiledGrammar>>();
  #keptBytes = 0;
  #vocabulary: TokenBytes | null = null;
  #inline: GrammarVocabulary | null = null;

  /** `elsewhere`: what compiles for this thread too; null: it has the thread for that. */
  constructor(model: ServedModel, elsewhere: Compile | null = null) {
    this.#model = model;
    this.#elsewhere = elsewhere;
  }

  /** Throws `invalid_value` for a grammar that cannot be kept or is too costly, `queue_full` under load. */
  async compile(spec: GrammarSpec): Promise<CompiledGrammar> {
    const key = createHash('sha256').update(JSON.stringify(spec)).digest('base64url');
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const compiling = this.#compile(key, spec);
    this.#kept.set(key, compiling);
    try {
      const compiled = await compiling;
      this.#keptBytes += compiled.automaton.byteLength;
      await this.#forgetOldest();
      return compiled;
    } catch (error) {
      this.#kept.delete(key);
      throw error;
    }
  }

  /** The text of every token, as the ranks take it. */
  async vocabulary(): Promise<TokenBytes> {
    return (await this.compile({ kind: 'free_text' })).vocabulary;
  }

  async #forgetOldest(): Promise<void> {
    for (const [key, kept] of this.#kept) {
      if (this.#kept.size <= keptGrammarsMax && this.#keptBytes <= keptBytesMax) return;
      this.#kept.delete(key);
      const bytes = await kept.then(
        ({ automaton }) => automaton.byteLength,
        () => 0,
      );
      this.#keptBytes -= bytes;
    }
  }

  async #compile(key: string, spec: GrammarSpec): Promise<CompiledGrammar> {
    if (this.#elsewhere !== null) return this.#elsewhere(spec);
    const { preparation, tokenizer, defaults, vocabSize } = this.#model;
    if (preparation === null) {
      this.#inline ??= grammarVocabulary(tokenizer, defaults.eosTokenIds, vocabSize);
      return { key, automaton: compileGrammar(spec, this.#inline.specialTokens), vocabulary: this.#inline.tokens };
    }
    this.#pool ??= startPool({ preparation, endIds: defaults.eosTokenIds, modelVocab: vocabSize });
    const pool = await this.#pool;
    if (pool.queueSize >= compileQueueLenMax) {
      throw new LockstepError('queue_full', 'Too many grammars are waiting to be compiled. Try again later.', { retryAfterSeconds: 1 });
    }
    const result = await this.#run(pool, spec);
    if ('error' in result) throw refusal(result.error, result.param);
    // The first thread's stays: grammars of a later one are over an equal vocabulary.
    this.#vocabulary ??= result.tokens;
    return { key, automaton: result.automaton, vocabulary: this.#vocabulary };
  }

  async #run(pool: Piscina<GrammarSpec, CompileResult>, spec: GrammarSpec): Promise<CompileResult> {
    const signal = AbortSignal.timeout(compileMs * (1 + pool.queueSize));
    try {
      return await pool.run(spec, { signal });
    } catch (cause) {
      const isHeap = (cause as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY';
      if (!signal.aborted && !isHeap) throw cause;
      const bound = isHeap ? `${heapMegabytesMax} MB of memory` : `${compileMs / 1000} s`;
      throw refusal(`The grammar is too costly: it could not be compiled within ${bound}.`, fieldOf(spec), cause);
    }
  }

  async close(): Promise<void> {
    await (await this.#pool)?.destroy();
    this.#pool = null;
  }
}

const refusal = (message: string, param: string | null, cause?: unknown) =>
  new LockstepError('invalid_value', message, param === null ? { cause } : { param, cause });

async function startPool(source: CompileSource): Promise<Piscina<GrammarSpec, CompileResult>> {
  const { Piscina } = await import('piscina');
  return new Piscina<GrammarSpec, CompileResult>({
    filename: fileURLToPath(new URL('./grammar-worker.js', import.meta.url)),
    minThreads: 0,
    maxThreads: 1,
    maxQueue: compileQueueLenMax,
    idleTimeout: idleMs,
    workerData: source,
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
  });
}
