/** The thread of `grammar-compiler.ts`: its own tokenizer, a task a grammar. */
import { workerData } from 'node:worker_threads';
import { DiskCache } from '../cache/disk-cache.js';
import { LockstepError } from '../errors.js';
import { compileGrammar } from '../grammar/compile.js';
import type { GrammarSpec } from '../grammar/spec.js';
import { grammarVocabulary } from '../grammar/vocabulary.js';
import { silentLogger } from '../log.js';
import { loadTokenizer } from '../tokenizer/load.js';
import type { CompileResult, CompileSource } from './grammar-compiler.js';

// Piscina hands `workerData` on beside its own.
const { preparation, endIds, modelVocab } = (Array.isArray(workerData) ? workerData[1] : workerData) as CompileSource;
const tokenizer = await loadTokenizer(
  preparation.tokenizer,
  preparation.cache && new DiskCache({ ...preparation.cache, logger: silentLogger }),
);
const vocabulary = grammarVocabulary(tokenizer, endIds, modelVocab);

// biome-ignore lint/style/noDefaultExport: piscina calls the default export
export default function compileInThread(spec: GrammarSpec): CompileResult {
  try {
    return { automaton: compileGrammar(spec, vocabulary.specialTokens), tokens: vocabulary.tokens };
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    return { error: error.message, param: error.param };
  }
}
