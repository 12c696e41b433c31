/** A thread that reads and compiles one tokenizer, so that the thread of the port goes on answering. Started by `load.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { LockstepError } from '../errors.js';
import type { TokenizerSource } from '../model/spec.js';
import { buffersOf, type CompiledBpe } from './compiled.js';
import { compileSource } from './source.js';

export type CompileAnswer =
  /** null: the library's. */
  { readonly compiled: CompiledBpe | null } | { readonly error: string; readonly isStart: boolean };

try {
  const compiled = compileSource(workerData as TokenizerSource);
  parentPort?.postMessage({ compiled } satisfies CompileAnswer, compiled === null ? [] : buffersOf(compiled));
} catch (error) {
  const { message } = error as Error;
  parentPort?.postMessage({ error: message, isStart: error instanceof LockstepError } satisfies CompileAnswer);
}
