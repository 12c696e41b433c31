/**
 * All that `api/` sees of the engine: submit, abort, load. Nothing else is shared between the two, so that the engine can
 * move into a process of its own.
 */
import type { EngineFigures } from '../metrics/metrics.js';
import type { Control } from './control.js';
import type { ChoiceEnd, ChoiceTokens, GenerationRequest, PromptFacts } from './request.js';

/** Most threads that may have a client each. */
export const clientsMax = 64;

/**
 * What happens to a request, in order: `prompt` once, then `tokens` and one `end` for each choice, then `closed` once, always
 * last. After `abort` of the whole request only `closed` follows.
 */
export interface RequestEvents {
  prompt(facts: PromptFacts): void;
  tokens(tokens: ChoiceTokens): void;
  end(end: ChoiceEnd): void;
  closed(): void;
  /**
   * Reads what the next token will read of this object and those behind it, and gives some number made of that. Called for several requests in a
   * row before their tokens, so that the processor fetches what is not in its cache for all of them at once ("group prefetching": Chen, Ailamaki,
   * Gibbons, Mowry, Improving Hash Join Performance through Prefetching, ICDE 2004). Where thousands stream that is a sixth of a token's cost.
   */
  warm?(): number;
}

export interface EngineClient {
  /** Throws LockstepError `queue_full` or `not_ready`; otherwise events follow, never inside the call. */
  submit(request: GenerationRequest, events: RequestEvents): void;
  /** The client went away, or wants no more. Unknown ids are ignored. */
  abort(id: string): void;
  /** One choice has all it needs (a stop string was found): its blocks are freed, and no event of it follows. */
  finishChoice(id: string, choice: number): void;
  /** Asks something of the engine as a whole; settles when it is done. Rejects with `not_ready` where the engine has failed. */
  control(control: Control): Promise<void>;
  /** Sequences that wait, as of the newest step. */
  waiting(): number;
  /** Since start, as /metrics shows them. */
  counters(): EngineFigures;
  /** Whether requests would be taken now: 'loading' until the ranks are ready, 'draining' after SIGTERM, 'failed' after a fault. */
  state(): 'loading' | 'ready' | 'draining' | 'failed';
}
