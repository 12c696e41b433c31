/** Outputs of grammars over the test vocabulary. */
import assert from 'node:assert/strict';
import type { NativeGrammarRun } from '../../src/addon/binding.js';
import { loadAddon } from '../../src/addon/load.js';
import { LockstepError } from '../../src/errors.js';
import { compileGrammar } from '../../src/grammar/compile.js';
import type { GrammarSpec } from '../../src/grammar/spec.js';
import { isAllowed, testVocabulary } from './vocabulary.js';

const tokensMax = 600;
const outputsOfEach = 3;
const { texts, bytes, ends } = testVocabulary();

/** The same numbers of 0 to 1 for the same seed of 1 to 2^31 - 1. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647 || 1;
    return state / 2147483647;
  };
}

/** A model without sense: every token has a weight that is drawn anew each time, and those that end something weigh more, so that outputs end. */
function randomId(mask: Uint32Array, random: () => number, hurry: number): number {
  let best = -1;
  let bestScore = -1;
  for (let id = 0; id < texts.length; id++) {
    if (!isAllowed(mask, id)) continue;
    const text = texts[id]!;
    const ending = text.length === 1 && '"}]'.includes(String.fromCharCode(text[0]!));
    const score = random() ** (1 / (ending ? hurry : 1));
    if (score > bestScore) [best, bestScore] = [id, score];
  }
  return best;
}

/** The output, or null where it has not come to its end. */
function sample(run: NativeGrammarRun, random: () => number): string | null {
  run.reset();
  const output: number[] = [];
  for (let i = 0; i < tokensMax; i++) {
    if (run.isExhausted() || (run.isComplete() && random() < 0.3)) return Buffer.concat(output.map((id) => texts[id]!)).toString('utf8');
    const mask = run.mask();
    assert.ok(mask !== null, 'a mask can be made');
    const id = randomId(mask, random, 1 + i * 4);
    assert.ok(id >= 0, `nothing is allowed after ${Buffer.concat(output.map((each) => texts[each]!))}`);
    assert.ok(run.push(id), 'what the mask allows can come');
    output.push(id);
  }
  return null;
}

/** null: it is refused, as an error of the request. */
export function compiledOrNull(spec: GrammarSpec): Int32Array | null {
  try {
    return compileGrammar(spec, new Map());
  } catch (error) {
    assert.ok(error instanceof LockstepError, String(error));
    return null;
  }
}

/** Some outputs of a grammar, null where one has not come to its end. */
export function* outputsOf(automaton: Int32Array, random: () => number): Generator<string | null> {
  const run = loadAddon().createGrammarRun(bytes, ends, automaton);
  for (let i = 0; i < outputsOfEach; i++) yield sample(run, random);
}
