/**
 * Forced calls in the forms that are no JSON object, by property: whatever random schema the parameters have and whatever random model
 * writes them, what is read of an output that has come to its end are calls whose arguments satisfy the schema, as ajv sees it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { planTools } from '../../src/api/tool-plan.js';
import { OutputParser } from '../../src/parsing/output-parser.js';
import { toolFormats } from '../../src/parsing/tool-formats.js';
import { fc } from '../property.js';
import { compiledOrNull, outputsOf, randomFrom } from './sample.js';
import { anyParameters } from './schemas.js';

const numSchemas = Number(process.env['LOCKSTEP_SCHEMAS'] ?? 60);
const ownForms = toolFormats.filter(({ written }) => written !== null && written.arguments.kind !== 'json');
const ajv = new Ajv2020({ strict: false });
formats.default(ajv);

test(`calls by ${numSchemas} random schemas validate`, { timeout: 600_000 }, () => {
  let [read, unfinished, refused] = [0, 0, 0];
  fc.assert(
    fc.property(anyParameters, fc.constantFrom(...ownForms), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (schema, format, seed) => {
      const functions = new Map([['f', { name: 'f', schema, field: 'tools', strict: false }]]);
      const plan = planTools({ functions, choice: 'required', parallel: false, isRestricted: false, isLegacy: false }, format, null, '');
      assert.equal(plan.reading.format, format);
      const automaton = compiledOrNull(plan.grammar!);
      if (automaton === null) {
        refused++;
        return;
      }
      const validate = ajv.compile(schema);
      const random = randomFrom(seed);
      for (const output of outputsOf(automaton, random)) {
        if (output === null) {
          unfinished++;
          continue;
        }
        const parser = new OutputParser({ tools: plan.reading, reasoning: null });
        const half = Math.floor(output.length * random());
        const events = [...parser.push(output.slice(0, half)), ...parser.push(output.slice(half)), ...parser.end()];
        const [first, ...others] = events.filter(({ type }) => type !== 'arguments');
        assert.ok(first?.type === 'call' && first.name === 'f' && others.length === 0, `${format.name}: ${output}`);
        const args = events.map((event) => (event.type === 'arguments' ? event.text : '')).join('');
        assert.ok(validate(JSON.parse(args)), `${format.name}: ${output} is ${args} of ${JSON.stringify(schema)}`);
        read++;
      }
    }),
    { numRuns: numSchemas },
  );
  assert.ok(read > unfinished, `${read} outputs ended, ${unfinished} did not`);
  assert.ok(refused < numSchemas / 3, `${refused} schemas of ${numSchemas} were refused`);
});
