/** The thread of `prompt-pool.ts`: its own tokenizer and template, a task a prompt. */
import { workerData } from 'node:worker_threads';
import { DiskCache } from '../cache/disk-cache.js';
import { createChatTemplate } from '../chat/template.js';
import { LockstepError } from '../errors.js';
import { silentLogger } from '../log.js';
import { loadTokenizer } from '../tokenizer/load.js';
import { type PoolTask, prepare } from './prepare.js';
import type { PoolResult } from './prompt-pool.js';
import type { PreparationSource } from './served-model.js';

// Piscina hands `workerData` on beside its own.
const source = (Array.isArray(workerData) ? workerData[1] : workerData) as PreparationSource;
const tokenizer = await loadTokenizer(source.tokenizer, source.cache && new DiskCache({ ...source.cache, logger: silentLogger }));
const template = source.chatTemplate === null ? null : createChatTemplate(source.chatTemplate, tokenizer);

// biome-ignore lint/style/noDefaultExport: piscina calls the default export
export default async function prepareInThread(task: PoolTask): Promise<PoolResult> {
  try {
    return await prepare(task, tokenizer, template, task.limit);
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    return { error: { code: error.code, message: error.message, param: error.param } };
  }
}
