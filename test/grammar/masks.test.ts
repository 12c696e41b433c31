/** A mask allows exactly the tokens that can come, unless what comes is forced; asked of the same positions one token at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAddon } from '../../src/addon/load.js';
import { compileGrammar } from '../../src/grammar/compile.js';
import type { GrammarSpec } from '../../src/grammar/spec.js';
import { fc } from '../property.js';
import { isAllowed, testVocabulary } from './vocabulary.js';

const { bytes, ends, texts } = testVocabulary();
const specs: readonly GrammarSpec[] = [
  { kind: 'json_object' },
  {
    kind: 'json_schema',
    schema: { type: 'object', properties: { name: { type: 'string', maxLength: 4 }, kind: { enum: ['red', 'ré'] } }, required: ['kind'] },
  },
  { kind: 'json_schema', schema: { type: 'string', pattern: '^[^a-f]*$' }, whitespace: 'none' },
  { kind: 'json_schema', schema: { type: 'string', minLength: 14, maxLength: 40 }, whitespace: 'none' },
  { kind: 'free_text', until: '</think>' },
  { kind: 'ebnf', grammar: 'root ::= [^<é]+ "<" root? ">" ' },
];

test('a mask allows what can come', () => {
  fc.assert(
    fc.property(fc.constantFrom(...specs), fc.array(fc.nat(), { minLength: 1, maxLength: 12 }), (spec, picks) => {
      const run = loadAddon().createGrammarRun(bytes, ends, compileGrammar(spec, new Map()));
      const output: number[] = [];
      const comes = (id: number) => {
        run.reset();
        for (const each of output) run.push(each);
        return run.push(id);
      };
      for (const pick of picks) {
        run.reset();
        for (const each of output) run.push(each);
        const mask = run.mask();
        assert.ok(mask !== null);
        const allowed = texts.flatMap((text, id) => (text.length > 0 && isAllowed(mask, id) ? [id] : []));
        const forced = run.forced();
        if (forced >= 0) assert.deepEqual(allowed, [forced]);
        else
          assert.deepEqual(
            allowed,
            texts.flatMap((text, id) => (text.length > 0 && comes(id) ? [id] : [])),
          );
        if (allowed.length === 0) return;
        output.push(allowed[pick % allowed.length]!);
      }
    }),
    { numRuns: 40 },
  );
});
