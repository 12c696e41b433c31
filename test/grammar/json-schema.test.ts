/**
 * The promise of structured output, by property: whatever random schema and whatever random model, an output that has come to its end
 * satisfies the schema, as an independent validator (ajv) sees it. LOCKSTEP_SCHEMAS says how many schemas are tried.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { NativeGrammarRun } from '../../src/addon/binding.js';
import { loadAddon } from '../../src/addon/load.js';
import { LockstepError } from '../../src/errors.js';
import { compileGrammar } from '../../src/grammar/compile.js';
import { fc } from '../property.js';
import { anySchema } from './schemas.js';
import { isAllowed, testVocabulary } from './vocabulary.js';

const numSchemas = Number(process.env['LOCKSTEP_SCHEMAS'] ?? 60);
const outputsOfEach = 3;
const tokensMax = 600;
const { bytes, ends, texts } = testVocabulary();

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

test(`outputs of ${numSchemas} random schemas validate`, { timeout: 600_000 }, () => {
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  formats.default(ajv);
  let [finished, unfinished, refused] = [0, 0, 0];
  fc.assert(
    fc.property(
      anySchema,
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      fc.constantFrom('any' as const, 'none' as const),
      (schema, seed, whitespace) => {
        let automaton: Int32Array;
        try {
          automaton = compileGrammar({ kind: 'json_schema', schema, whitespace }, new Map());
        } catch (error) {
          assert.ok(error instanceof LockstepError, String(error));
          refused++;
          return;
        }
        const validate = ajv.compile(schema);
        const run = loadAddon().createGrammarRun(bytes, ends, automaton);
        let state = seed;
        const random = () => {
          state = (Math.imul(state, 48271) >>> 0) % 2147483647 || 1;
          return state / 2147483647;
        };
        for (let i = 0; i < outputsOfEach; i++) {
          const output = sample(run, random);
          if (output === null) {
            unfinished++;
            continue;
          }
          finished++;
          const value: unknown = JSON.parse(output);
          assert.ok(validate(value), `${output} of ${JSON.stringify(schema)}: ${JSON.stringify(validate.errors)}`);
        }
      },
    ),
    { numRuns: numSchemas },
  );
  assert.ok(finished > 2 * unfinished, `${finished} outputs ended, ${unfinished} did not`);
  assert.ok(refused < numSchemas / 3, `${refused} schemas of ${numSchemas} were refused`);
});
