/** The thread that reads long prompts. It starts with the first of them and goes when it is idle: it holds a tokenizer of its own. */
import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import { type ErrorCode, LockstepError } from '../errors.js';
import type { PoolTask, PreparedPrompt, PromptPool } from './prepare.js';
import type { PreparationSource } from './served-model.js';

/** Long prompts that wait for the thread; one more is answered 429. */
const poolQueueLenMax = 256;
const poolThreads = 1;
const poolIdleMs = 30_000;
/** Longest that one prompt may take. */
const poolTaskMs = 30_000;

/** An error of the request crosses the threads as its parts; any other rejects the task. */
export type PoolResult =
  | PreparedPrompt
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly param: string | null } };

export class PromptThread implements PromptPool {
  readonly #source: PreparationSource;
  #pool: Promise<Piscina<PoolTask, PoolResult>> | null = null;

  constructor(source: PreparationSource) {
    this.#source = source;
  }

  async prepare(task: PoolTask): Promise<PreparedPrompt> {
    this.#pool ??= startPool(this.#source);
    const pool = await this.#pool;
    if (pool.queueSize >= poolQueueLenMax) {
      throw new LockstepError('queue_full', 'Too many long prompts are waiting to be read. Try again later.', { retryAfterSeconds: 1 });
    }
    const result = await this.#run(pool, task);
    if ('ids' in result) return result;
    const { code, message, param } = result.error;
    throw new LockstepError(code, message, param === null ? {} : { param });
  }

  async #run(pool: Piscina<PoolTask, PoolResult>, task: PoolTask): Promise<PoolResult> {
    const signal = AbortSignal.timeout(poolTaskMs * (1 + pool.queueSize));
    try {
      return await pool.run(task, { signal });
    } catch (cause) {
      if (!signal.aborted) throw cause;
      throw new LockstepError('invalid_value', `The prompt could not be read within ${poolTaskMs / 1000} s.`, { cause });
    }
  }

  async close(): Promise<void> {
    await (await this.#pool)?.destroy();
    this.#pool = null;
  }
}

/** The package is loaded here, not at start: it takes 25 ms that most servers never need. */
async function startPool(source: PreparationSource): Promise<Piscina<PoolTask, PoolResult>> {
  const { Piscina } = await import('piscina');
  return new Piscina<PoolTask, PoolResult>({
    filename: fileURLToPath(new URL('./prepare-worker.js', import.meta.url)),
    minThreads: 0,
    maxThreads: poolThreads,
    maxQueue: poolQueueLenMax,
    idleTimeout: poolIdleMs,
    workerData: source,
  });
}
