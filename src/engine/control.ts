/**
 * What is asked of the engine as a whole: to forget its prefixes, to sleep, to wake. A sleeping engine admits nothing: what arrives waits in
 * the queue, within its bound. It is asleep once no step is on its way and nothing runs, so that no KV block holds what anybody needs.
 */
import type { Scheduler } from '../scheduler/scheduler.js';

/**
 * What becomes of those that run: they end, they are waited for (but one that must give its blocks to another waits for the waking), or they
 * are put back in the queue and computed anew after the waking.
 */
export type SleepMode = 'abort' | 'wait' | 'keep';

export type Control =
  /** `preempt`: those that run lose their blocks too, and are computed anew. */
  | { readonly kind: 'forgetPrefixes'; readonly preempt: boolean }
  | { readonly kind: 'sleep'; readonly mode: SleepMode; readonly forget: boolean }
  | { readonly kind: 'wake' };

const nothing: readonly number[] = [];

type Controlled = Pick<Scheduler, 'hold' | 'preemptAll' | 'isStill' | 'forgetPrefixes'>;

export class EngineControl {
  readonly #scheduler: Controlled;
  /** Numbers of the requests that have been answered since the last `take`. */
  #done: number[] = [];
  /** Those who wait for the engine to fall asleep. */
  #sleepers: number[] = [];
  #forget = false;
  #asleep = false;

  constructor(scheduler: Controlled) {
    this.#scheduler = scheduler;
  }

  get asleep(): boolean {
    return this.#asleep;
  }

  /** `number` comes back from `take` when it is done. Ending what runs, in mode 'abort', is the engine's. */
  begin(number: number, control: Control): void {
    if (control.kind === 'sleep') {
      this.#scheduler.hold(true);
      if (control.mode === 'keep') this.#scheduler.preemptAll();
      this.#forget ||= control.forget;
      this.#sleepers.push(number);
      return;
    }
    if (control.kind === 'wake') {
      this.#scheduler.hold(false);
      this.#asleep = false;
      this.#forget = false;
      this.#done.push(...this.#sleepers);
      this.#sleepers = [];
    } else {
      if (control.preempt) this.#scheduler.preemptAll();
      this.#scheduler.forgetPrefixes();
    }
    this.#done.push(number);
  }

  /** What has been done by the end of this turn. */
  take(): readonly number[] {
    if (this.#sleepers.length > 0 && this.#scheduler.isStill()) {
      if (this.#forget) this.#scheduler.forgetPrefixes();
      this.#asleep = true;
      this.#done.push(...this.#sleepers);
      this.#sleepers = [];
    }
    if (this.#done.length === 0) return nothing;
    const done = this.#done;
    this.#done = [];
    return done;
  }
}
