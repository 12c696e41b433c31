/** Whether an output goes round in circles. Pure: the ids in order, as they come. */
import type { RepetitionRule } from '../sampling/params.js';

/** Whether `ids` end in `minCount` equal patterns; the shortest length is tried first. As vLLM's `check_sequence_repetition`. */
export function endsInCircles(ids: readonly number[], { minPattern, maxPattern, minCount }: RepetitionRule): boolean {
  for (let length = minPattern; length <= maxPattern && length * minCount <= ids.length; length++) {
    if (repeats(ids, length, minCount)) return true;
  }
  return false;
}

/** Whether each of the last `length * (count - 1)` ids is the one that stands `length` before it. */
function repeats(ids: readonly number[], length: number, count: number): boolean {
  for (let i = ids.length - 1; i >= ids.length - length * (count - 1); i--) {
    if (ids[i] !== ids[i - length]) return false;
  }
  return true;
}
