/**
 * Prompt text or messages -> ids. Short ones on this thread; long ones in a thread pool, so that no prompt delays another client's
 * events. The pool starts with the first long prompt and goes when it is idle: its thread holds a tokenizer of its own.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { ChatMessage, RenderOptions } from '../chat/template.js';
import { LockstepError } from '../errors.js';
import type { ServedModel } from './served-model.js';

/** Longest text prepared here: about a millisecond of tokenising. */
const inlineCharsMax = 8192;
/** Long prompts that wait for the pool; one more is answered 429. */
export const poolQueueLenMax = 256;
const poolThreads = 1;
const poolIdleMs = 30_000;
/** Longest that one prompt may take: a template that never ends is cut off here. */
const poolTaskMs = 30_000;

export type PrepareTask =
  | { readonly kind: 'text'; readonly text: string; readonly addSpecialTokens: boolean }
  | {
      readonly kind: 'messages';
      readonly messages: readonly ChatMessage[];
      readonly options: RenderOptions;
      readonly addSpecialTokens: boolean;
    };

export class Preparer {
  readonly #model: ServedModel;
  #pool: Piscina<PrepareTask, PrepareResult> | null = null;

  constructor(model: ServedModel) {
    this.#model = model;
  }

  /** Ids of the prompt, or of the rendered messages. Throws `invalid_value` where the template refuses them, `queue_full` under load. */
  async encode(task: PrepareTask): Promise<Int32Array> {
    if (this.#model.preparation !== null && sizeOf(task) > inlineCharsMax) return this.#inPool(task);
    const { tokenizer } = this.#model;
    const text = task.kind === 'text' ? task.text : this.#template().render(task.messages, task.options);
    return tokenizer.encode(text, { addSpecialTokens: task.addSpecialTokens });
  }

  #template() {
    if (this.#model.template === null) {
      throw new LockstepError(
        'invalid_value',
        'This model has no chat template. Start the server with --chat-template, or use /v1/completions.',
        {
          param: 'messages',
        },
      );
    }
    return this.#model.template;
  }

  async #inPool(task: PrepareTask): Promise<Int32Array> {
    if (task.kind === 'messages') this.#template();
    this.#pool ??= new Piscina<PrepareTask, PrepareResult>({
      filename: fileURLToPath(new URL('./prepare-worker.js', import.meta.url)),
      minThreads: 0,
      maxThreads: poolThreads,
      maxQueue: poolQueueLenMax,
      idleTimeout: poolIdleMs,
      workerData: this.#model.preparation,
    });
    if (this.#pool.queueSize >= poolQueueLenMax) {
      throw new LockstepError('queue_full', 'Too many long prompts are waiting to be read. Try again later.', { retryAfterSeconds: 1 });
    }
    try {
      const result = await this.#pool.run(task, { signal: AbortSignal.timeout(poolTaskMs * (1 + this.#pool.queueSize)) });
      if (result.error !== null) throw new LockstepError('invalid_value', result.error, { param: 'messages' });
      return result.ids;
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
      throw new LockstepError('invalid_value', `The prompt was not ready within ${poolTaskMs / 1000} s: the chat template took too long.`, {
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
    this.#pool = null;
  }
}

/** `error`: the template's own message; errors of other kinds reject the task. */
export interface PrepareResult {
  readonly ids: Int32Array;
  readonly error: string | null;
}

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
