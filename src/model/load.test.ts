import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadModel } from './load.js';
import { weightBytes } from './quantization/formats.js';
import { kvBytesPerToken } from './spec.js';

const stories = join(process.cwd(), 'test/fixtures/stories260K');
const scratch = mkdtempSync(join(tmpdir(), 'lockstep-load-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let copies = 0;
/** A copy of the model with some files changed; null removes one. */
function changed(files: Readonly<Record<string, string | null>>): string {
  const folder = join(scratch, String(copies++));
  cpSync(stories, folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    if (text === null) rmSync(join(folder, name));
    else writeFileSync(join(folder, name), text);
  }
  return folder;
}
const json = (name: string) => JSON.parse(readFileSync(join(stories, name), 'utf8')) as Record<string, unknown>;
const config = (change: object) => JSON.stringify({ ...json('config.json'), ...change });
const refused = (path: string, message: RegExp, options: { dtype?: string; maxModelLen?: number } = {}) =>
  assert.rejects(loadModel(path, { dtype: 'auto', ...options }), { code: 'start', message });

test('a folder becomes a model', async () => {
  const model = await loadModel(stories, { dtype: 'auto' });
  assert.equal(model.path, stories);
  assert.equal(model.computeType, 'bfloat16');
  assert.deepEqual(model.spec.dims, { hidden: 64, vocab: 512, heads: 8, kvHeads: 4, headDim: 8 });
  assert.equal(model.spec.maxPositions, 512);
  assert.deepEqual(model.generation, { eosTokenIds: [2], bosTokenId: 1, padTokenId: null });
  assert.match(model.chatTemplate ?? '', /^\{% for message/);
  assert.equal(model.tokenizer.path, join(stories, 'tokenizer.json'));
  assert.deepEqual(model.weights.files, [join(stories, 'model.safetensors')]);
  assert.deepEqual(model.notes, []);
  assert.equal(kvBytesPerToken(model.spec, 'bfloat16'), 2 * 5 * 4 * 8 * 2);
  assert.equal(kvBytesPerToken(model.spec, 'int8'), 2 * 5 * 4 * (8 + 2));
  // 260,032 values, of which 11 norms of 64 are float32.
  assert.equal(weightBytes(model.weights), 2 * 260_032 + 2 * 11 * 64);
  assert.deepEqual(structuredClone(model), model);
});

test('what sees its whole input cannot generate', async () => {
  const folder = changed({ 'config.json': config({ is_causal: false }) });
  await refused(folder, /is_causal is false; expected true: what sees its whole input cannot generate/);
  const pooling = { runner: 'pooling', convert: 'auto', pooler: null } as const;
  const model = await loadModel(folder, { dtype: 'auto', pooling });
  assert.deepEqual([model.spec.causal, model.pooling?.of], [false, 'first']);
});

test('--dtype', async () => {
  for (const dtype of ['float', 'float32']) assert.equal((await loadModel(stories, { dtype })).computeType, 'float32');
  assert.equal((await loadModel(stories, { dtype: 'bfloat16' })).computeType, 'bfloat16');
  await refused(stories, /float16 is not supported: there are no float16 kernels/, { dtype: 'float16' });
  await refused(stories, /--dtype must be one of auto, bfloat16, float32, not "int3"/, { dtype: 'int3' });
});

test('--max-model-len', async () => {
  await loadModel(stories, { dtype: 'auto', maxModelLen: 512 });
  await refused(stories, /--max-model-len 513 is more than the 512 positions/, { maxModelLen: 513 });
});

test('generation_config.json goes before config.json; ids may be lists', async () => {
  const own = await loadModel(
    changed({
      'generation_config.json': JSON.stringify({ eos_token_id: [2, 7, 2], temperature: 0.6, top_k: 20, top_p: 0.9, max_new_tokens: null }),
    }),
    { dtype: 'auto' },
  );
  assert.deepEqual(own.generation, { eosTokenIds: [2, 7], bosTokenId: 1, padTokenId: null, temperature: 0.6, topK: 20, topP: 0.9 });
  const none = await loadModel(changed({ 'generation_config.json': null, 'config.json': config({ eos_token_id: [5, 6] }) }), {
    dtype: 'auto',
  });
  assert.deepEqual(none.generation.eosTokenIds, [5, 6]);
  await refused(
    changed({ 'generation_config.json': '{"eos_token_id": "</s>"}' }),
    /generation_config.json: eos_token_id is "<\/s>"; expected a token id/,
  );
  await refused(changed({ 'generation_config.json': '{"temperature": "hot"}' }), /temperature is "hot"; expected a number/);
});

test('the chat template: its own file, a string, a list of named ones, none', async () => {
  const template = async (files: Readonly<Record<string, string | null>>) =>
    (await loadModel(changed(files), { dtype: 'auto' })).chatTemplate;
  const tokenizer = (chat_template: unknown) => JSON.stringify({ ...json('tokenizer_config.json'), chat_template });
  assert.equal(await template({ 'chat_template.jinja': 'own' }), 'own');
  assert.equal(await template({ 'tokenizer_config.json': tokenizer('a') }), 'a');
  const named = [
    { name: 'tool_use', template: 't' },
    { name: 'default', template: 'd' },
  ];
  assert.equal(await template({ 'tokenizer_config.json': tokenizer(named) }), 'd');
  assert.equal(await template({ 'tokenizer_config.json': tokenizer(null) }), null);
  assert.equal(await template({ 'tokenizer_config.json': null }), null);
  assert.equal(await template({ 'tokenizer_config.json': null, 'chat_template.json': '{"chat_template": "p"}' }), 'p');
  await refused(changed({ 'tokenizer_config.json': tokenizer(3) }), /tokenizer_config.json: chat_template is 3; expected a template/);
});

test('--tokenizer: that of another folder, with its template where it has one', async () => {
  const load = async (own: string, tokenizerPath: string) => {
    const { tokenizer, chatTemplate, path } = await loadModel(own, { dtype: 'auto', tokenizerPath });
    return [path === own, tokenizer.path, chatTemplate];
  };
  const bare = changed({ 'tokenizer.json': null, 'tokenizer_config.json': null, 'chat_template.jinja': 'own' });
  const other = changed({ 'config.json': null, 'model.safetensors': null, 'chat_template.jinja': 'other' });
  const without = changed({ 'tokenizer_config.json': null });
  assert.deepEqual(await load(bare, other), [true, join(other, 'tokenizer.json'), 'other']);
  assert.deepEqual(await load(bare, without), [true, join(without, 'tokenizer.json'), 'own']);
  await assert.rejects(loadModel(stories, { dtype: 'auto', tokenizerPath: bare }), { code: 'start', message: /holds no tokenizer.json/ });
});

test('--load-format', async () => {
  assert.equal((await loadModel(stories, { dtype: 'auto', format: 'safetensors' })).path, stories);
  const gguf = loadModel(stories, { dtype: 'auto', format: 'gguf' });
  await assert.rejects(gguf, { code: 'start', message: /^--load-format gguf: .*stories260K is in safetensors$/ });
});

test('what cannot be loaded is one line that names file and fault', async () => {
  await refused(join(scratch, 'nowhere'), /nowhere does not exist$/);
  await refused(changed({ 'config.json': null }), /holds no config.json/);
  await refused(changed({ 'config.json': '{"architectures": [' }), /config.json is not valid JSON/);
  await refused(changed({ 'config.json': '{"a":\n x\n}' }), /^[^\n]*config.json is not valid JSON[^\n]*$/);
  await refused(changed({ 'config.json': '[]' }), /config.json must hold a JSON object/);
  await refused(
    changed({ 'config.json': config({ architectures: ['RwkvForCausalLM'] }) }),
    /RwkvForCausalLM is not supported; supported are LlamaForCausalLM, /,
  );
  await refused(
    changed({ 'config.json': config({ hidden_size: 128 }) }),
    /model.safetensors: tensor model.embed_tokens.weight has shape \[512, 64\], but .* \[512, 128\]/,
  );
  await refused(
    changed({ 'config.json': config({ quantization_config: { quant_method: 'quip', bits: 2 } }) }),
    /weights quantised by quip are not supported; supported are gptq, awq/,
  );
  await refused(
    changed({ 'config.json': config({ rope_scaling: { type: 'dynamic', factor: 2 } }) }),
    /rope_scaling: rope_type dynamic is not supported/,
  );
  await refused(changed({ 'model.safetensors': null }), /holds no model.safetensors and no model.safetensors.index.json/);
  await refused(changed({ 'tokenizer.json': null }), /holds no tokenizer.json$/);
  await refused(changed({ 'tokenizer.json': null, 'tokenizer.model': '' }), /tokenizer.model alone cannot be read/);
  await refused(changed({ 'tokenizer_config.json': 'x' }), /tokenizer_config.json is not valid JSON/);
  const short = changed({});
  truncateSync(join(short, 'model.safetensors'), 400_000);
  await refused(short, /model.safetensors is truncated: its tensors need/);
  const text = join(scratch, 'text.gguf');
  writeFileSync(text, 'hello');
  await refused(text, /text.gguf is not a GGUF file/);
});

test('NaN and Infinity, as Python writes them, are read as absent', async () => {
  const text = config({}).replace('"rope_theta"', '"time_limit": Infinity, "list": [NaN, -Infinity], "rope_theta"');
  assert.equal((await loadModel(changed({ 'config.json': text }), { dtype: 'auto' })).spec.maxPositions, 512);
});
