/**
 * Host time of grammars over one vocabulary: compiling, and the masks of an output that follows each, character by character: what a rank
 * pays in a step where nobody made the mask before, the first time and at most places.
 *
 *   node dist/bench/host/grammar.js [FOLDER_OR_GGUF]
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { loadAddon } from '../../src/addon/load.js';
import { compileGrammar } from '../../src/grammar/compile.js';
import type { GrammarSpec } from '../../src/grammar/spec.js';
import { grammarVocabulary } from '../../src/grammar/vocabulary.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';

const text = (limits: object): GrammarSpec => ({ kind: 'json_schema', schema: { type: 'string', ...limits }, whitespace: 'none' });
/** Name, grammar, and how an output of it begins. */
const grammars: readonly (readonly [name: string, spec: GrammarSpec, output: string])[] = [
  ['a string', text({}), `"${'The quick fox. '.repeat(60)}`],
  ['a string of at most 1,000', text({ maxLength: 1000 }), `"${'The quick fox. '.repeat(60)}`],
  ['a string of 1,000 to 4,000', text({ minLength: 1000, maxLength: 4000 }), `"${'The quick fox. '.repeat(60)}`],
  ['a string of at most 20', text({ maxLength: 20 }), '"The quick fox. The q'],
  ['[a-z ]{1,500}', { kind: 'regex', pattern: '[a-z ]{1,500}' }, 'the quick fox '.repeat(30)],
  ['any JSON object', { kind: 'json_object' }, `{"a": [1, 2, {"b": "${'text '.repeat(60)}"}], "c": null`],
];

async function main(path: string): Promise<void> {
  const source = path.endsWith('.gguf')
    ? ({ kind: 'gguf', path } as const)
    : ({ kind: 'huggingface', path: join(path, 'tokenizer.json'), config: {} } as const);
  const tokenizer = await loadTokenizer(source);
  const { tokens, specialTokens } = grammarVocabulary(tokenizer, [], tokenizer.vocabSize);
  const idOf = new Map(Array.from({ length: tokenizer.vocabSize }, (_, id) => [tokenizer.tokenText(id), id] as const).reverse());
  console.log(`${path}: ${tokenizer.vocabSize} tokens; masks in ms`);
  for (const [name, spec, output] of grammars) {
    const start = performance.now();
    const automaton = compileGrammar(spec, specialTokens);
    const compile = performance.now() - start;
    const run = loadAddon().createGrammarRun(tokens.bytes, tokens.ends, automaton);
    const times = Array.from(output, (char) => {
      const before = performance.now();
      run.mask();
      const time = performance.now() - before;
      if (!run.push(idOf.get(char) ?? -1)) throw new Error(`${name}: ${char} cannot come`);
      return time;
    });
    const sorted = times.slice(1).sort((a, b) => a - b);
    const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))]!.toFixed(3);
    const figures = `compile ${compile.toFixed(0)} ms, first ${times[1]!.toFixed(2)}, median ${at(0.5)}, 90% ${at(0.9)}, most ${at(1)}`;
    console.log(`  ${name.padEnd(28)} ${figures}`);
  }
}

await main(process.argv[2] ?? 'models/guide');
