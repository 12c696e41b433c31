/** Steps to the ranks and back, over the shared buffers: what the engine's thread needs of the ranks. */
import type { StepBuffers, StepResult } from '../step/buffers.js';
import { allFinished, hasFault, publish } from './channel.js';

/** The engine thread's side of the ranks: steps go out in order and come back in order, at most as many as there are slots. */
export class StepDriver {
  #dispatched = 0;
  #collected = 0;

  constructor(private readonly buffers: StepBuffers) {}

  /** Hands the plan of the next epoch to the ranks; returns at once. */
  dispatch(epoch: number): void {
    if (epoch !== ((this.#dispatched + 1) | 0)) throw new Error(`plan of step ${epoch} after step ${this.#dispatched}`);
    this.#dispatched = epoch;
    publish(this.buffers.control, epoch);
  }

  /** The oldest result that every rank has finished; null: none is back yet. Throws when the ranks cannot go on. */
  collect(): StepResult | null {
    const { control, results, layout } = this.buffers;
    if (hasFault(control, layout.dims.worldSize)) throw new RankFault();
    const next = (this.#collected + 1) | 0;
    if (this.#collected === this.#dispatched || !allFinished(control, layout.dims.worldSize, next)) return null;
    this.#collected = next;
    return results[next & 1]!;
  }
}

/** A rank reported a fault or is gone; the owner of the group knows the reason. */
export class RankFault extends Error {
  override readonly name = 'RankFault';
}
