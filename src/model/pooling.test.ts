import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Checkpoint } from './checkpoint.js';
import { classifierOf } from './classifier.js';
import { Config } from './config.js';
import { type PoolingOptions, poolingSpec, sentenceFiles, taskOf } from './pooling.js';
import type { ModelSpec, PoolingSpec } from './spec.js';
import { readRows } from './stored-values.js';

const scratch = mkdtempSync(join(tmpdir(), 'lockstep-pooling-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
const none: PoolingOptions = { runner: 'auto', convert: 'auto', pooler: null };

let folders = 0;
/** A folder of JSON files. */
function folderOf(files: Readonly<Record<string, unknown>>): string {
  const folder = join(scratch, String(folders++));
  for (const [name, value] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), JSON.stringify(value));
  }
  return folder;
}

/** A checkpoint of float matrices, in a file of its own. */
function checkpointOf(matrices: Readonly<Record<string, readonly (readonly number[])[] | readonly number[]>>, type = 'f32'): Checkpoint {
  const path = join(scratch, `values${folders++}`);
  const tensors = new Map();
  const bytes: Buffer[] = [];
  let byteOffset = 0;
  for (const [name, matrix] of Object.entries(matrices)) {
    const values = matrix.flat();
    const shape = Array.isArray(matrix[0]) ? [matrix.length, values.length / matrix.length] : [values.length];
    tensors.set(name, { name, file: 0, byteOffset, type, shape });
    bytes.push(Buffer.from(type === 'f32' ? Float32Array.from(values).buffer : Uint16Array.from(values).buffer));
    byteOffset += bytes.at(-1)!.length;
  }
  writeFileSync(path, Buffer.concat(bytes));
  return { files: [path], tensors };
}

const module = (kind: string, path = '') => ({ path, type: `sentence_transformers.models.${kind}` });
const spec = { causal: true, dims: { hidden: 2 } } as ModelSpec;
const poolingOf = (
  config: Readonly<Record<string, unknown>>,
  task: PoolingSpec['task'] = 'embed',
  options: Partial<PoolingOptions> = {},
  folder: string | null = null,
  checkpoint = checkpointOf({}),
) =>
  poolingSpec(
    task,
    { spec, config: new Config('config.json', config), checkpoint, sentence: folder === null ? null : sentenceFiles(folder) },
    { ...none, ...options },
  );

test('what a model is served for: the flags, then sentence-transformers, then the name of its class', () => {
  assert.equal(taskOf('LlamaForCausalLM', false, none), null);
  assert.equal(taskOf('GPT2LMHeadModel', false, none), null);
  assert.equal(taskOf('Qwen3ForCausalLM', true, none), 'embed');
  assert.equal(taskOf('Qwen3ForCausalLM', true, { ...none, runner: 'generate' }), null);
  assert.equal(taskOf('MistralModel', false, none), 'embed');
  assert.equal(taskOf('Qwen3ForSequenceClassification', false, none), 'classify');
  assert.equal(taskOf('LlamaForCausalLM', false, { ...none, runner: 'pooling' }), 'embed');
  assert.equal(taskOf('LlamaForCausalLM', false, { ...none, convert: 'classify' }), 'classify');
  assert.throws(() => taskOf('BertModel', false, { ...none, runner: 'generate' }), /BertModel has no head to generate with/);
  assert.throws(
    () => taskOf('LlamaForCausalLM', false, { ...none, runner: 'generate', convert: 'embed' }),
    /no use with --runner generate/,
  );
  assert.throws(() => taskOf('LlamaForCausalLM', false, { ...none, runner: 'pooling', convert: 'none' }), /--convert embed makes/);
});

test('sentence-transformers: modules, both forms of the pooling mode, length and case', () => {
  const folder = folderOf({
    'modules.json': [module('Transformer'), module('Pooling', '1_Pooling'), module('Normalize', '2_Normalize')],
    '1_Pooling/config.json': { pooling_mode_cls_token: false, pooling_mode_mean_tokens: true, word_embedding_dimension: 2 },
    'sentence_bert_config.json': { max_seq_length: 256, do_lower_case: true },
  });
  assert.deepEqual(sentenceFiles(folder), { of: 'mean', normalize: true, layers: [], maxLen: 256, lowercase: true });
  const modeOf = (config: object) =>
    sentenceFiles(folderOf({ 'modules.json': [module('Transformer'), module('Pooling', 'p')], 'p/config.json': config }))?.of;
  assert.equal(modeOf({ pooling_mode_cls_token: true }), 'first');
  assert.equal(modeOf({ pooling_mode_lasttoken: true }), 'last');
  assert.equal(modeOf({ pooling_mode: 'lasttoken' }), 'last');
  assert.equal(modeOf({ pooling_mode_max_tokens: true }), null);
  assert.equal(modeOf({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }), null);
  assert.equal(sentenceFiles(folderOf({ 'config.json': {} })), null);
  assert.equal(sentenceFiles(folderOf({ 'modules.json': [module('Transformer')] })), null);
  assert.throws(
    () => sentenceFiles(folderOf({ 'modules.json': [module('LSTM')] })),
    /type is .*LSTM.*expected Transformer, Pooling, Dense or Normalize/,
  );
  assert.throws(
    () => sentenceFiles(folderOf({ 'modules.json': [module('Pooling', '../other')] })),
    /path is "\.\.\/other"; expected the name of a folder beside modules.json/,
  );
  assert.throws(() => sentenceFiles(folderOf({ 'modules.json': {} })), /must hold a list of JSON objects/);
});

test('embeddings: the flag wins over the files, and these over what the family is like', () => {
  const folder = folderOf({ 'modules.json': [module('Transformer'), module('Pooling', 'p')], 'p/config.json': { pooling_mode: 'mean' } });
  assert.deepEqual(poolingOf({}), {
    of: 'last',
    lowercase: false,
    task: 'embed',
    layers: [],
    width: 2,
    activation: 'normalize',
    dimensions: null,
    fromTokens: null,
    labels: [],
  });
  assert.deepEqual([poolingOf({}, 'embed', {}, folder).of, poolingOf({}, 'embed', {}, folder).activation], ['mean', 'none']);
  assert.equal(poolingOf({}, 'embed', { pooler: { pooling_type: 'CLS' } }, folder).of, 'first');
  assert.equal(poolingOf({}, 'embed', { pooler: { seq_pooling_type: 'MEAN', use_activation: true } }, folder).activation, 'normalize');
  assert.equal(poolingOf({}, 'embed', { pooler: { use_activation: false } }).activation, 'none');
  assert.equal(poolingOf({ is_matryoshka: true }).dimensions, 'any');
  assert.deepEqual(poolingOf({ matryoshka_dimensions: [1, 2] }).dimensions, [1, 2]);
  assert.throws(() => poolingOf({}, 'embed', { pooler: { pooling_type: 'STEP' } }), /pooling_type is "STEP"; expected CLS, LAST, MEAN/);
  assert.throws(() => poolingOf({}, 'embed', { pooler: { step_tag_id: 1 } }), /step_tag_id is not supported/);
  const max = folderOf({ 'modules.json': [module('Pooling', 'p')], 'p/config.json': { pooling_mode: 'max' } });
  assert.throws(() => poolingOf({}, 'embed', {}, max), /its kind of pooling is not supported/);
});

test('classifiers by the names that families give their layers, or by words of the head', () => {
  const score = checkpointOf({
    'score.weight': [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
  });
  const found = classifierOf(new Config('config.json', { id2label: { 0: 'no', 1: 'yes' } }), score);
  assert.deepEqual(found.labels, ['no', 'yes', 'LABEL_2']);
  assert.deepEqual([found.activation, found.layers.length, Array.from(found.layers[0]!.weight)], ['softmax', 1, [1, 2, 3, 4, 5, 6]]);
  const bert = checkpointOf({
    'bert.pooler.dense.weight': [
      [1, 0],
      [0, 1],
    ],
    'bert.pooler.dense.bias': [7, 8],
    'classifier.weight': [[1, 1]],
    'classifier.bias': [9],
  });
  const pair = classifierOf(new Config('config.json', {}), bert);
  assert.deepEqual(
    pair.layers.map(({ activation, bias, outputs }) => [activation, Array.from(bias!), outputs]),
    [
      ['tanh', [7, 8], 2],
      ['none', [9], 1],
    ],
  );
  assert.equal(pair.activation, 'sigmoid');
  assert.equal(
    classifierOf(new Config('config.json', { sbert_ce_default_activation_function: 'torch.nn.modules.linear.Identity' }), bert).activation,
    'none',
  );
  assert.equal(classifierOf(new Config('config.json', { problem_type: 'multi_label_classification' }), score).activation, 'sigmoid');

  const head = checkpointOf({
    'model.embed_tokens.weight': [
      [1, 2],
      [3, 4],
    ],
  });
  const words = { classifier_from_token: ['no', 'yes'], is_original_qwen3_reranker: true };
  const judge = classifierOf(new Config('config.json', words), head);
  assert.deepEqual(
    [judge.fromTokens?.tokens, judge.fromTokens?.difference, judge.activation, judge.labels],
    [['no', 'yes'], true, 'sigmoid', ['LABEL_0']],
  );
  assert.deepEqual(Array.from(readRows(judge.fromTokens!.head, 1, 1)), [3, 4]);
  assert.throws(() => classifierOf(new Config('config.json', { ...words, classifier_from_token: ['yes'] }), head), /expected two tokens/);
  assert.throws(() => classifierOf(new Config('config.json', words), checkpointOf({})), /has none of lm_head.weight/);
  assert.throws(() => classifierOf(new Config('config.json', {}), head), /no classifier that is known here/);
  assert.throws(
    () => poolingOf({}, 'classify', {}, null, checkpointOf({ 'score.weight': [[1, 2, 3]] })),
    /has 3 inputs, and 2 values come to it/,
  );
});

test('stored floats of every type', () => {
  const read = (type: string, bits: number[]) => {
    const { files } = checkpointOf({ w: bits }, type);
    return Array.from(readRows({ path: files[0]!, byteOffset: 0, type: type as 'f16', rows: 1, cols: bits.length }, 0, 1));
  };
  assert.deepEqual(read('bf16', [0x3f80, 0xc040, 0x0000]), [1, -3, 0]);
  assert.deepEqual(read('f16', [0x3c00, 0xc200, 0x0001, 0x7bff, 0x7c00]), [1, -3, 2 ** -24, 65504, Number.POSITIVE_INFINITY]);
  assert.deepEqual(read('f32', [1.5, -2]), [1.5, -2]);
});
