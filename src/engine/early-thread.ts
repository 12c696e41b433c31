/** The engine's thread before it has a task: a file of its own, so that starting one loads nothing else. */
import type { Worker } from 'node:worker_threads';
import { startThread } from '../parallel/threads.js';

export function startEngineThread(): Worker {
  return startThread(new URL('./engine-worker.js', import.meta.url), 'engine');
}
