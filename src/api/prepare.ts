/** Prompt text or messages -> ids. Short ones on this thread; long ones in a thread pool, so that no prompt delays another client's events. */
import { type ChatMessage, type ChatTemplate, createChatTemplate, type RenderOptions } from '../chat/template.js';
import { LockstepError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { promptTooLong, type Truncation } from './context-limit.js';
import type { ServedModel } from './served-model.js';

/** Longest text prepared here: about a millisecond of tokenising. */
const inlineCharsMax = 8192;
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

/** Where long prompts are read. */
export interface PromptPool {
  /** As `Preparer.prepare`. */
  prepare(task: PoolTask): Promise<PreparedPrompt>;
}

/** Throws for an id that the model has no row for. Some tokenizers have such: a token for padding, added to them alone. */
export function checkVocabulary(ids: Iterable<number>, vocabSize: number): void {
  for (const id of ids) if (id >= vocabSize) throw new LockstepError('invalid_value', `Token id ${id} is out of vocabulary`);
}

export class Preparer {
  readonly #model: ServedModel;
  #limit: TextLimit | null = null;
  readonly #pool: PromptPool | null;

  /** `pool`: null where the model says nothing that another thread could read prompts with. */
  constructor(model: ServedModel, pool: PromptPool | null) {
    this.#model = model;
    this.#pool = pool;
  }

  async encode(task: PrepareTask): Promise<Int32Array> {
    return (await this.prepare(task)).ids;
  }

  /** Text and ids of the prompt, or of the rendered messages. Throws `invalid_value` where the template refuses them, `queue_full` under load. */
  async prepare(task: PrepareTask): Promise<PreparedPrompt> {
    const { tokenizer, template } = this.#model;
    if (task.kind === 'messages' && template === null && !task.template) throw noTemplate;
    if (this.#pool !== null && sizeOf(task) > inlineCharsMax) return this.#inPool(task, this.#pool);
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

  async #inPool(given: PrepareTask, pool: PromptPool): Promise<PreparedPrompt> {
    const task = this.#withoutWrittenNumbers(given);
    const limit = this.#limits();
    if (task.kind === 'text' && !task.truncation && task.text.length > limit.charsMax) throw promptTooLong(limit.maxModelLen);
    return pool.prepare({ ...task, limit });
  }

  /** Tools and calls hold numbers as they were written (`PythonFloat`), which do not cross threads: those prompts are rendered here. */
  #withoutWrittenNumbers(task: PrepareTask): PrepareTask {
    if (task.kind === 'text') return task;
    if (task.options.tools === undefined && task.messages.every((message) => message.tool_calls === undefined)) return task;
    const { addSpecialTokens, truncation = null } = task;
    const template = templateOf(task.template, this.#model.template, this.#model.tokenizer);
    return { kind: 'text', text: template.render(task.messages, task.options), addSpecialTokens, truncation };
  }
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
