/**
 * Grammars through the real engine, with a small model that knows nothing of them, at temperature 1: every output that ends by itself is as
 * its grammar says, and it is the same output however it came about: alone or among others, one step ahead or not, in chunks, from a warm
 * prefix cache, on two ranks, and whether forced tokens were jumped over or sampled one by one.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { OfflineEngine } from '../../src/cli/bench-throughput.js';
import { compileGrammar } from '../../src/grammar/compile.js';
import type { CompiledGrammar } from '../../src/grammar/compiled.js';
import type { GrammarSpec } from '../../src/grammar/spec.js';
import { type GrammarVocabulary, grammarVocabulary } from '../../src/grammar/vocabulary.js';
import type { SamplingParams, StopRule } from '../../src/sampling/params.js';
import { type Answer, ask, requestOf, start } from '../sameness/engine.js';

const person = {
  type: 'object',
  properties: {
    a_rather_long_name: { type: 'string', maxLength: 8 },
    another_long_name: { enum: ['first of the values', 'second of the values', 'third'] },
    tags: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 99 }, minItems: 1, maxItems: 3 },
  },
  required: ['a_rather_long_name', 'another_long_name', 'tags'],
  additionalProperties: false,
};
const specs: Readonly<Record<string, GrammarSpec>> = {
  schema: { kind: 'json_schema', schema: person },
  compact: { kind: 'json_schema', schema: person, whitespace: 'none' },
  regex: { kind: 'regex', pattern: '[a-c]{3}-[0-9]{2}(é|😀)' },
  choice: { kind: 'choice', choices: ['Paris is the capital', 'London', 'Paris'] },
  ebnf: { kind: 'ebnf', grammar: 'root ::= "(" item ("," item)* ")"\nitem ::= [0-9]{1,3} | root' },
  tag: {
    kind: 'tags',
    tags: [{ kind: 'tag', begin: '<call name="f">', content: { kind: 'json_schema', schema: person }, end: '</call>' }],
    separator: '',
    atLeastOne: true,
    stopAfterFirst: true,
  },
};
const validate = new Ajv2020({ strict: false }).compile(person);
const checks: Readonly<Record<string, (text: string) => boolean>> = {
  schema: (text) => validate(JSON.parse(text)),
  compact: (text) => validate(JSON.parse(text)) && !text.includes('\n'),
  regex: (text) => /^[a-c]{3}-[0-9]{2}(é|😀)$/u.test(text),
  choice: (text) => ['Paris is the capital', 'London', 'Paris'].includes(text),
  ebnf: (text) =>
    /^[(),0-9]+$/.test(text) &&
    text.startsWith('(') &&
    [...text].reduce((depth, c) => depth + (c === '(' ? 1 : c === ')' ? -1 : 0), 0) === 0,
  tag: (text) => validate(JSON.parse(/^<call name="f">(.*)<\/call>$/s.exec(text)![1]!)),
};
const prompt = Array.from({ length: 40 }, (_, i) => 300 + i * 7);
const maxTokens = 120;

let engine: OfflineEngine;
let vocabulary: GrammarVocabulary;
const grammars = new Map<string, CompiledGrammar>();

before(async () => {
  engine = await start();
  vocabulary = grammarVocabulary(engine.tokenizer, [engine.tokenizer.eosTokenId ?? -1], engine.tokenizer.vocabSize);
  for (const [key, spec] of Object.entries(specs)) {
    grammars.set(key, { key, automaton: compileGrammar(spec, vocabulary.specialTokens), vocabulary: vocabulary.tokens });
  }
});
after(() => engine.stop());

interface Question {
  readonly grammar: string;
  readonly sampling?: Partial<SamplingParams>;
  readonly stop?: Partial<StopRule>;
}

function askFor(to: OfflineEngine, { grammar, sampling, stop }: Question): Promise<Answer> {
  const eos = [to.tokenizer.eosTokenId ?? 0];
  const question = {
    prompt,
    maxTokens,
    sampling: { temperature: 1, numLogprobs: null, ...sampling },
    stop: { eosTokenIds: eos, ignoreEos: false, ...stop },
  };
  return ask(to.client, question, { ...requestOf(question), grammar: grammars.get(grammar)! });
}

const textOf = (ids: readonly number[]) => engine.tokenizer.decode(ids, { skipSpecialTokens: false });
const names = Object.keys(specs);

test('outputs that end are as their grammar says', async () => {
  let finished = 0;
  const questions = names.flatMap((grammar) => [1n, 2n, 3n].map((seed) => ({ grammar, sampling: { seed, n: 2 } })));
  const answers = await Promise.all(questions.map((question) => askFor(engine, question)));
  for (const [i, { choices }] of answers.entries()) {
    for (const { ids, end } of choices) {
      assert.ok(end?.finishReason === 'stop' || end?.finishReason === 'length', `${end?.finishReason}: ${end?.error?.message}`);
      if (end.finishReason !== 'stop') continue;
      finished++;
      assert.ok(checks[questions[i]!.grammar]!(textOf(ids)), `${questions[i]!.grammar}: ${textOf(ids)}`);
    }
  }
  assert.ok(finished > answers.length, `${finished} of ${2 * answers.length} outputs ended`);
});

test('forced tokens are not sampled one by one', async () => {
  const before = engine.client.counters();
  const { choices } = await askFor(engine, { grammar: 'compact', sampling: { temperature: 0 } });
  const steps = engine.client.counters().steps - before.steps;
  assert.ok(steps < choices[0]!.ids.length, `${choices[0]!.ids.length} tokens took ${steps} steps`);
});

test('penalties, allowed ids, bad words and log-probabilities go with a grammar', async () => {
  const sampling = { presencePenalty: 1, frequencyPenalty: 0.5, repetitionPenalty: 1.2, topK: 50, topP: 0.9, minP: 0.01, numLogprobs: 2 };
  for (const grammar of names) {
    const { choices } = await askFor(engine, { grammar, sampling, stop: { minTokens: 3 } });
    const { ids, end, logprobBits } = choices[0]!;
    assert.equal(logprobBits.length, ids.length);
    if (end?.finishReason === 'stop') assert.ok(checks[grammar]!(textOf(ids)), `${grammar}: ${textOf(ids)}`);
  }
  const london = engine.tokenizer.encode('London', { addSpecialTokens: false }) as Int32Array;
  const { choices } = await askFor(engine, { grammar: 'choice', sampling: { allowedTokenIds: [...new Set(london)] } });
  assert.equal(textOf(choices[0]!.ids), 'London');
});

test('where nothing may come that request alone ends, with an error', async () => {
  const [stuck, other] = await Promise.all([
    askFor(engine, { grammar: 'regex', sampling: { allowedTokenIds: [0] } }),
    askFor(engine, { grammar: 'choice' }),
  ]);
  assert.equal(stuck.choices[0]!.end?.finishReason, 'error');
  assert.match(stuck.choices[0]!.end?.error?.message ?? '', /No token may come next/);
  assert.equal(stuck.choices[0]!.end?.error?.code, 'invalid_value', 'the request is at fault');
  assert.equal(other.choices[0]!.end?.finishReason, 'stop');
});

test('a grammar that is at its end ends the output, with ignore_eos and min_tokens too', async () => {
  const { choices } = await askFor(engine, { grammar: 'choice', stop: { ignoreEos: true, minTokens: 100 } });
  assert.equal(choices[0]!.end?.finishReason, 'stop');
  assert.ok(checks['choice']!(textOf(choices[0]!.ids)));
});

const variants: readonly (readonly [string, readonly string[]])[] = [
  ['one token a step, so that nothing is jumped over', ['--max-num-seqs', '1', '--max-num-batched-tokens', '1']],
  [
    'not one step ahead, in chunks of 7, no prefix cache',
    ['--no-async-scheduling', '--max-num-batched-tokens', '7', '--max-num-seqs', '4', '--no-enable-prefix-caching'],
  ],
  [
    'two ranks, with drafts',
    ['--tensor-parallel-size', '2', '--speculative-config', '{"method":"ngram","num_speculative_tokens":4,"adaptive":false}'],
  ],
  ['a small KV cache, so that sequences are preempted', ['--kv-cache-memory-bytes', '2M', '--max-model-len', '256']],
];

for (const [what, argv] of variants) {
  test(`the same outputs: ${what}`, async () => {
    const questions = names.flatMap((grammar) => [
      { grammar, sampling: { seed: 11n } },
      { grammar, sampling: { temperature: 0 } },
    ]);
    const alone: Answer[] = [];
    for (const question of questions) alone.push(await askFor(engine, question));
    const other = await start(...argv);
    try {
      const together = await Promise.all(questions.map((question) => askFor(other, question)));
      for (const [i, { choices }] of together.entries()) {
        assert.equal(textOf(choices[0]!.ids), textOf(alone[i]!.choices[0]!.ids), questions[i]!.grammar);
        assert.deepEqual(choices[0]!.ids, alone[i]!.choices[0]!.ids);
        assert.equal(choices[0]!.end?.finishReason, alone[i]!.choices[0]!.end?.finishReason);
      }
    } finally {
      await other.stop();
    }
  });
}

test('ranks that sum: the grammar holds', async () => {
  const other = await start('--tensor-parallel-size', '3', '--tensor-parallel-mode', 'reduce');
  try {
    const answers = await Promise.all(names.map((grammar) => askFor(other, { grammar, sampling: { seed: 5n } })));
    for (const [i, { choices }] of answers.entries()) {
      const { ids, end } = choices[0]!;
      assert.notEqual(end?.finishReason, 'error', end?.error?.message ?? '');
      if (end?.finishReason === 'stop') assert.ok(checks[names[i]!]!(textOf(ids)), `${names[i]}: ${textOf(ids)}`);
    }
  } finally {
    await other.stop();
  }
});
