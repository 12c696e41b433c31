/** Who calls, as far as the routes and the limits care. */
import type { GenerationRequest } from '../../engine/request.js';

/** Whom a request is counted for. */
export interface Caller {
  /** Of the key; 0 where no keys are asked for. */
  readonly owner: number;
  readonly name: string | null;
  /** Its part of engine and queue; null: nobody else has any. */
  readonly share: NonNullable<GenerationRequest['share']> | null;
}

export const anybody: Caller = { owner: 0, name: null, share: null };
