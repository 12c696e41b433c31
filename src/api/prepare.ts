/**
 * Prompt text or messages -> ids. Short ones on this thread; long ones in a thread pool, so that no prompt delays another client's
 * events. The pool starts with the first long prompt and goes when it is idle: its thread holds a tokenizer of its own.
 */
import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import type { ChatMessage, ChatTemplate, RenderOptions } from '../chat/template.js';
import { type ErrorCode, LockstepError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { promptTooLong } from './generation.js';
import type { PreparationSource, ServedModel } from './served-model.js';

/** Longest text prepared here: about a millisecond of tokenising. */
const inlineCharsMax = 8192;
/** Long prompts that wait for the pool; one more is answered 429. */
export const poolQueueLenMax = 256;
const poolThreads = 1;
const poolIdleMs = 30_000;
/** Longest that one prompt may take. */
const poolTaskMs = 30_000;

export type PrepareTask =
  | { readonly kind: 'text'; readonly text: string; readonly addSpecialTokens: boolean }
  | {
      readonly kind: 'messages';
      readonly messages: readonly ChatMessage[];
      readonly options: RenderOptions;
      readonly addSpecialTokens: boolean;
    };

/** What decides about a text that is too long to be worth tokenising. */
export interface TextLimit {
  readonly maxModelLen: number;
  /** More characters than this are more tokens than `maxModelLen`, whichever they are. */
  readonly charsMax: number;
}

/** Renders and encodes, on whichever thread. Throws `context_length_exceeded` for a text that cannot fit, before it is tokenised. */
export async function prepare(
  task: PrepareTask,
  tokenizer: Tokenizer,
  template: ChatTemplate | null,
  limit: TextLimit,
): Promise<Int32Array> {
  const text = task.kind === 'text' ? task.text : template!.render(task.messages, task.options);
  if (text.length > limit.charsMax) throw promptTooLong(limit.maxModelLen);
  return tokenizer.encode(text, { addSpecialTokens: task.addSpecialTokens });
}

/** A task as the pool's thread gets it. */
export type PoolTask = PrepareTask & { readonly limit: TextLimit };

/** An error of the request crosses the threads as its parts; any other rejects the task. */
export type PoolResult =
  | { readonly ids: Int32Array }
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly param: string | null } };

export class Preparer {
  readonly #model: ServedModel;
  #limit: TextLimit | null = null;
  #pool: Promise<Piscina<PoolTask, PoolResult>> | null = null;

  constructor(model: ServedModel) {
    this.#model = model;
  }

  /** Ids of the prompt, or of the rendered messages. Throws `invalid_value` where the template refuses them, `queue_full` under load. */
  async encode(task: PrepareTask): Promise<Int32Array> {
    const { tokenizer, template, preparation } = this.#model;
    if (task.kind === 'messages' && template === null) throw noTemplate;
    if (preparation !== null && sizeOf(task) > inlineCharsMax) return this.#inPool(task);
    return prepare(task, tokenizer, template, sizeOf(task) > inlineCharsMax ? this.#limits() : noLimit);
  }

  /** A token stands for at most as many characters as the longest one has bytes. Found with the first long prompt: it takes some 20 ms. */
  #limits(): TextLimit {
    if (this.#limit === null) {
      const { tokenizer, maxModelLen } = this.#model;
      let longest = 1;
      for (let id = 0; id < tokenizer.vocabSize; id++) longest = Math.max(longest, tokenizer.tokenBytes(id).length);
      this.#limit = { maxModelLen, charsMax: maxModelLen * longest };
    }
    return this.#limit;
  }

  async #inPool(task: PrepareTask): Promise<Int32Array> {
    this.#pool ??= startPool(this.#model.preparation);
    const pool = await this.#pool;
    if (pool.queueSize >= poolQueueLenMax) {
      throw new LockstepError('queue_full', 'Too many long prompts are waiting to be read. Try again later.', { retryAfterSeconds: 1 });
    }
    const limit = this.#limits();
    if (task.kind === 'text' && task.text.length > limit.charsMax) throw promptTooLong(limit.maxModelLen);
    const result = await this.#run(pool, { ...task, limit });
    if ('ids' in result) return result.ids;
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
async function startPool(source: PreparationSource | null): Promise<Piscina<PoolTask, PoolResult>> {
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

const noLimit: TextLimit = { maxModelLen: 0, charsMax: Number.POSITIVE_INFINITY };
const noTemplate = new LockstepError(
  'invalid_value',
  'This model has no chat template. Start the server with --chat-template, or use /v1/completions.',
  { param: 'messages' },
);

/** Characters to be read, roughly. */
function sizeOf(task: PrepareTask): number {
  if (task.kind === 'text') return task.text.length;
  let size = 0;
  for (const { content } of task.messages) {
    if (typeof content === 'string') size += content.length;
    else for (const part of content ?? []) size += part.text?.length ?? 0;
  }
  return size;
}
