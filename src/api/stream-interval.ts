/** stream_interval: fewer, larger pieces of an answer. The first tokens of a choice and its end come at once, as vLLM has it. */
import type { TextDelta } from '../engine/output.js';
import type { AnswerEvents } from './answer-events.js';

/** Tells `answer` of a choice's tokens when there are `interval` of them. */
export function everyTokens(interval: number, answer: AnswerEvents): AnswerEvents {
  const begun = new Set<number>();
  const held = new Map<number, TextDelta>();
  return {
    prompt: (facts) => answer.prompt(facts),
    delta(delta) {
      const whole = joined(held.get(delta.choice), delta);
      const isFirst = !begun.has(delta.choice);
      if (!isFirst && whole.ids.length < interval && whole.finishReason === null) {
        held.set(delta.choice, whole);
        return;
      }
      begun.add(delta.choice);
      held.delete(delta.choice);
      answer.delta(whole);
    },
    finish: (times) => answer.finish(times),
  };
}

function joined(before: TextDelta | undefined, delta: TextDelta): TextDelta {
  if (before === undefined) return delta;
  const ids = [...before.ids, ...delta.ids];
  const logprobs = before.logprobs === null && delta.logprobs === null ? null : [...(before.logprobs ?? []), ...(delta.logprobs ?? [])];
  return { ...delta, text: before.text + delta.text, ids, logprobs };
}
