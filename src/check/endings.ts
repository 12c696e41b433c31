/** Why choices that call functions ended: unlike the end of a text, it does not depend on what the model says. */
import { isObject, type JsonObject } from '../api/json-object.js';
import type { Answer } from './exchange.js';
import type { Difference } from './shape.js';
import { choicesOf } from './streams.js';

export function endingDifferences(reference: Answer, answer: Answer): Difference[] {
  const [wanted, found] = [endingOfCalls(reference), endingOfCalls(answer)];
  if (wanted === null || found === null || wanted === found) return [];
  return [{ path: 'choices[].finish_reason', what: `${found} after a call, where ${wanted} is` }];
}

/** null: there are no calls, or they were cut off. */
function endingOfCalls({ body, events }: Answer): string | null {
  const parts = (events?.map(({ data }) => data) ?? [body]).filter((part) => isObject(part));
  const choices = parts.flatMap(choicesOf);
  const reasons = new Set(choices.map((choice) => choice['finish_reason']).filter((reason) => typeof reason === 'string'));
  return choices.some(hasCalls) && !reasons.has('length') ? [...reasons].sort().join(', ') : null;
}

function hasCalls(choice: JsonObject): boolean {
  const said = choice['message'] ?? choice['delta'];
  return isObject(said) && Array.isArray(said['tool_calls']) && said['tool_calls'].length > 0;
}
