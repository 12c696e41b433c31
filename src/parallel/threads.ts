/**
 * Threads that are started before it is known what they will work on. A thread of Node takes 40 to 60 ms until its first line, so the ranks' and
 * the engine's come up while the process reads its modules and the model's header; the first message is what they are to do.
 */
import { type Transferable, Worker } from 'node:worker_threads';
import { checkWorldSize } from './sharding.js';

export function startThread(entry: URL, name: string): Worker {
  const worker = new Worker(entry, { name });
  worker.unref(); // one that waits keeps no process alive
  return worker;
}

export function giveTask(worker: Worker, task: unknown, transfer: readonly Transferable[] = []): void {
  worker.ref();
  worker.postMessage(task, transfer);
}

/** One for each rank; `rank-worker.ts` has what they run. Throws a start error for a number that cannot be. */
export function startRankThreads(worldSize: number): Worker[] {
  checkWorldSize(worldSize);
  const entry = new URL('./rank-worker.js', import.meta.url);
  return Array.from({ length: worldSize }, (_, rank) => startThread(entry, `rank-${rank}`));
}
