/**
 * The promise of structured output, by property: whatever random schema and whatever random model, an output that has come to its end
 * satisfies the schema, as an independent validator (ajv) sees it. LOCKSTEP_SCHEMAS says how many schemas are tried.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { fc } from '../property.js';
import { compiledOrNull, outputsOf, randomFrom } from './sample.js';
import { anySchema } from './schemas.js';

const numSchemas = Number(process.env['LOCKSTEP_SCHEMAS'] ?? 60);

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
        const automaton = compiledOrNull({ kind: 'json_schema', schema, whitespace });
        if (automaton === null) {
          refused++;
          return;
        }
        const validate = ajv.compile(schema);
        for (const output of outputsOf(automaton, randomFrom(seed))) {
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
