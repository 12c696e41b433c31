/**
 * Who signals and who wakes whom: the control words of the step buffer. The engine thread publishes epochs and sleeps on one doorbell,
 * which arrivals and finished steps both ring; a rank sleeps on the published epoch. Nothing here knows what a step holds.
 */
import { control } from '../step/layout.js';

const rankWord = (rank: number) => control.rank0 + 16 * rank;

/** The epoch to hand to `waitForRing`: read it before looking for work, so that no ring is lost. */
export function doorbellEpoch(words: Int32Array): number {
  return Atomics.load(words, control.doorbell);
}

export function ringDoorbell(words: Int32Array): void {
  Atomics.add(words, control.doorbell, 1);
  Atomics.notify(words, control.doorbell);
}

/** Sleeps until the doorbell is rung after `seen` was read, at most `timeoutMs`. */
export function waitForRing(words: Int32Array, seen: number, timeoutMs: number): void {
  Atomics.wait(words, control.doorbell, seen, timeoutMs);
}

/** Plans up to `epoch` are in their slots: the ranks may run them. */
export function publish(words: Int32Array, epoch: number): void {
  Atomics.store(words, control.dispatched, epoch);
  Atomics.notify(words, control.dispatched);
}

/** Sleeps until a plan newer than `epoch` is published. false: the rank is to leave its loop. */
export function waitForPlan(words: Int32Array, epoch: number, timeoutMs: number): boolean {
  for (;;) {
    if (Atomics.load(words, control.stop) !== 0) return false;
    if (Atomics.load(words, control.dispatched) !== epoch) return true;
    Atomics.wait(words, control.dispatched, epoch, timeoutMs);
  }
}

/** Rank `rank` of `worldSize` has finished `epoch` with `status`; 0 is success. Rings when a step is whole: nobody waits for less. */
export function reportStep(words: Int32Array, rank: number, worldSize: number, epoch: number, status: number): void {
  Atomics.store(words, rankWord(rank) + 1, status);
  Atomics.store(words, rankWord(rank), epoch);
  if (status !== 0 || allFinished(words, worldSize, epoch)) ringDoorbell(words);
}

/** Whether every rank has finished `epoch`. Epochs wrap around, hence the difference. */
export function allFinished(words: Int32Array, worldSize: number, epoch: number): boolean {
  for (let rank = 0; rank < worldSize; rank++) {
    if (((Atomics.load(words, rankWord(rank)) - epoch) | 0) < 0) return false;
  }
  return true;
}

/** A rank has failed, or its thread is gone: no further step can be run. */
export function hasFault(words: Int32Array, worldSize: number): boolean {
  if (Atomics.load(words, control.abort) !== 0) return true;
  for (let rank = 0; rank < worldSize; rank++) if (Atomics.load(words, rankWord(rank) + 1) !== 0) return true;
  return false;
}

/** Tells the engine thread that the ranks cannot go on. */
export function raiseAbort(words: Int32Array): void {
  Atomics.store(words, control.abort, 1);
  ringDoorbell(words);
}

export function stopRanks(words: Int32Array): void {
  Atomics.store(words, control.stop, 1);
  Atomics.notify(words, control.dispatched);
}
