/** A model's tokenizer from its file: by kind, and from what an earlier start has kept. */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import type { DiskCache } from '../cache/disk-cache.js';
import { addFileIdentity } from '../cache/file-identity.js';
import { LockstepError, startError } from '../errors.js';
import type { TokenizerSource } from '../model/spec.js';
import { BpeTokenizer } from './bpe-tokenizer.js';
import type { CompileAnswer } from './compile-worker.js';
import { type CompiledBpe, compiledVersion, readCompiled, writeCompiled } from './compiled.js';
import { UnsupportedComponent } from './definition.js';
import { parseTokenizerJson } from './huggingface.js';
import { LibraryTokenizer } from './library-tokenizer.js';
import { UnsupportedPattern } from './pattern.js';
import { compileSource } from './source.js';
import type { Tokenizer } from './tokenizer.js';

/** A larger file is compiled in a thread of its own and kept in the cache; a smaller one takes less time than either. */
const smallBytes = 2 ** 20;
/** The first answers go before what is kept for the next start. */
const keepAfterMs = 1500;

/** Reads and builds the tokenizer of a model; `pairs`: one that encodes them. Throws a `start` error that names the file and what is wrong with it. */
export async function loadTokenizer(source: TokenizerSource, cache: DiskCache | null = null, { pairs = false } = {}): Promise<Tokenizer> {
  try {
    if (pairs) return await byLibrary(source);
    const isLarge = statSync(source.path).size >= smallBytes;
    const path = cache !== null && isLarge ? cache.pathOf('tokenizer', digestOf(source)) : null;
    const kept = path === null ? null : readKept(path, cache!);
    const compiled = kept ?? (isLarge ? await compileInThread(source) : compileSource(source));
    if (kept === null && compiled !== null && path !== null)
      setTimeout(() => cache!.storeBytes(path, writeCompiled(compiled)), keepAfterMs).unref();
    return compiled === null ? await byLibrary(source) : await byOurselves(compiled, source);
  } catch (cause) {
    if (cause instanceof LockstepError) throw cause;
    throw startError(`the tokenizer in ${source.path} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

async function byOurselves(compiled: CompiledBpe, source: TokenizerSource): Promise<Tokenizer> {
  try {
    return new BpeTokenizer(compiled);
  } catch (cause) {
    if (source.kind === 'gguf' || !(cause instanceof UnsupportedComponent || cause instanceof UnsupportedPattern)) throw cause;
    return byLibrary(source);
  }
}

async function byLibrary(source: TokenizerSource): Promise<Tokenizer> {
  const json = await readFile(source.path, 'utf8');
  return LibraryTokenizer.create(json, parseTokenizerJson(json, source.kind === 'gguf' ? {} : source.config));
}

function digestOf(source: TokenizerSource): string {
  const hash = createHash('sha256').update(`${compiledVersion} ${JSON.stringify(source)}`);
  addFileIdentity(hash, source.path);
  return hash.digest('hex').slice(0, 32);
}

function readKept(path: string, cache: DiskCache): CompiledBpe | null {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch {
    return null;
  }
  const compiled = readCompiled(bytes);
  if (compiled === null) cache.damaged(path, 'its bytes are not those that were written');
  else cache.used(path);
  return compiled;
}

async function compileInThread(source: TokenizerSource): Promise<CompiledBpe | null> {
  const worker = new Worker(new URL('./compile-worker.js', import.meta.url), { workerData: source, name: 'tokenizer' });
  const answer = await new Promise<CompileAnswer>((resolve, reject) => worker.once('message', resolve).once('error', reject));
  if ('compiled' in answer) return answer.compiled;
  throw answer.isStart ? startError(answer.error) : new Error(answer.error);
}
