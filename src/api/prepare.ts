/**
 * Prompt text or messages -> ids. Short ones on this thread; long ones in a thread pool, so that no prompt delays another client's
 * events. The pool starts with the first long prompt and goes when it is idle: its thread holds a tokenizer of its own.
 */
import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import { type ChatMessage, type ChatTemplate, createChatTemplate, type RenderOptions } from '../chat/template.js';
import { type ErrorCode, LockstepError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { promptTooLong, type Truncation } from './context-limit.js';
import type { PreparationSource, ServedModel } from './served-model.js';

/** Longest text prepared here: about a millisecond of tokenising. */
const inlineCharsMax = 8192;
/** Long prompts that wait for the pool; one more is answered 429. */
export const poolQueueLenMax = 256;
const poolThreads = 1;
const poolIdleMs = 30_000;
/** Longest that one prompt may take. */
const poolTaskMs = 30_000;

interface EncodeTask {
  readonly addSpecialTokens: boolean;
  /** null, or left out: a prompt that is too long is an error. */
  readonly truncation?: Truncation | null;
}

export type PrepareTask =
  | (EncodeTask & { readonly kind: 'text'; readonly text: string })
  | (EncodeTask & {
      readonly kind: 'messages';
      readonly messages: readonly ChatMessage[];
      readonly options: RenderOptions;
      /** Source of a template in place of the model's; null, or left out: the model's. */
      readonly template?: string | null;
    });

export interface PreparedPrompt {
  /** The prompt as text: what was given, or what the template made of the messages. */
  readonly text: string;
  readonly ids: Int32Array;
}

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
): Promise<PreparedPrompt> {
  const text = task.kind === 'text' ? task.text : templateOf(task.template, template, tokenizer).render(task.messages, task.options);
  const { truncation = null, addSpecialTokens } = task;
  if (truncation === null && text.length > limit.charsMax) throw promptTooLong(limit.maxModelLen);
  const ids = await tokenizer.encode(text, { addSpecialTokens });
  return { text, ids: truncation === null ? ids : truncated(ids, truncation, tokenizer.bosTokenId) };
}

/** A begin-of-sequence token in front stays there: models are lost without it. */
export function truncated(ids: Int32Array, { len, side }: Truncation, bosTokenId: number | null): Int32Array {
  if (ids.length <= len) return ids;
  if (side === 'right') return ids.slice(0, len);
  const kept = ids.slice(ids.length - len);
  if (len > 0 && ids[0] === bosTokenId) kept[0] = bosTokenId!;
  return kept;
}

/** Templates that came with requests, parsed: clients send the same one again and again. */
const requestTemplates = new Map<string, ChatTemplate>();
const requestTemplatesMax = 16;

function templateOf(source: string | null | undefined, template: ChatTemplate | null, tokens: Tokenizer): ChatTemplate {
  if (source === null || source === undefined) return template!;
  const known = requestTemplates.get(source);
  if (known !== undefined) return known;
  const parsed = parseRequestTemplate(source, tokens);
  if (requestTemplates.size >= requestTemplatesMax) requestTemplates.delete(requestTemplates.keys().next().value!);
  requestTemplates.set(source, parsed);
  return parsed;
}

function parseRequestTemplate(source: string, { bosToken, eosToken }: Tokenizer): ChatTemplate {
  try {
    return createChatTemplate(source, { bosToken, eosToken });
  } catch (cause) {
    if (!(cause instanceof LockstepError)) throw cause;
    throw new LockstepError('invalid_value', cause.message, { param: 'chat_template', cause });
  }
}

/** A task as the pool's thread gets it. */
export type PoolTask = PrepareTask & { readonly limit: TextLimit };

/** An error of the request crosses the threads as its parts; any other rejects the task. */
export type PoolResult =
  | PreparedPrompt
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly param: string | null } };

export class Preparer {
  readonly #model: ServedModel;
  #limit: TextLimit | null = null;
  #pool: Promise<Piscina<PoolTask, PoolResult>> | null = null;

  constructor(model: ServedModel) {
    this.#model = model;
  }

  async encode(task: PrepareTask): Promise<Int32Array> {
    return (await this.prepare(task)).ids;
  }

  /** Text and ids of the prompt, or of the rendered messages. Throws `invalid_value` where the template refuses them, `queue_full` under load. */
  async prepare(task: PrepareTask): Promise<PreparedPrompt> {
    const { tokenizer, template, preparation } = this.#model;
    if (task.kind === 'messages' && template === null && !task.template) throw noTemplate;
    if (preparation !== null && sizeOf(task) > inlineCharsMax) return this.#inPool(task);
    return prepare(task, tokenizer, template, sizeOf(task) > inlineCharsMax ? this.#limits() : noLimit);
  }

  /** More characters than any text has that fits. */
  charsMax(): number {
    return this.#limits().charsMax;
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

  async #inPool(given: PrepareTask): Promise<PreparedPrompt> {
    const task = this.#withoutWrittenNumbers(given);
    this.#pool ??= startPool(this.#model.preparation);
    const pool = await this.#pool;
    if (pool.queueSize >= poolQueueLenMax) {
      throw new LockstepError('queue_full', 'Too many long prompts are waiting to be read. Try again later.', { retryAfterSeconds: 1 });
    }
    const limit = this.#limits();
    if (task.kind === 'text' && !task.truncation && task.text.length > limit.charsMax) throw promptTooLong(limit.maxModelLen);
    const result = await this.#run(pool, { ...task, limit });
    if ('ids' in result) return result;
    const { code, message, param } = result.error;
    throw new LockstepError(code, message, param === null ? {} : { param });
  }

  /** Tools and calls hold numbers as they were written (`PythonFloat`), which do not cross threads: those prompts are rendered here. */
  #withoutWrittenNumbers(task: PrepareTask): PrepareTask {
    if (task.kind === 'text') return task;
    if (task.options.tools === undefined && task.messages.every((message) => message.tool_calls === undefined)) return task;
    const { addSpecialTokens, truncation = null } = task;
    const template = templateOf(task.template, this.#model.template, this.#model.tokenizer);
    return { kind: 'text', text: template.render(task.messages, task.options), addSpecialTokens, truncation };
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
