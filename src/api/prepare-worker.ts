/** A thread of the pool of `prepare.ts`: its own tokenizer and template, a task a prompt. */
import { workerData } from 'node:worker_threads';
import { createChatTemplate } from '../chat/template.js';
import { LockstepError } from '../errors.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';
import type { PrepareResult, PrepareTask } from './prepare.js';
import type { PreparationSource } from './served-model.js';

// Piscina hands `workerData` on beside its own.
const source = (Array.isArray(workerData) ? workerData[1] : workerData) as PreparationSource;
const tokenizer = await loadTokenizer(source.tokenizer);
const template = source.chatTemplate === null ? null : createChatTemplate(source.chatTemplate, tokenizer);

export async function prepare(task: PrepareTask): Promise<PrepareResult> {
  try {
    const text = task.kind === 'text' ? task.text : template!.render(task.messages, task.options);
    return { ids: await tokenizer.encode(text, { addSpecialTokens: task.addSpecialTokens }), error: null };
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'invalid_value') return { ids: new Int32Array(0), error: error.message };
    throw error;
  }
}

// biome-ignore lint/style/noDefaultExport: piscina calls the default export
export default prepare;
