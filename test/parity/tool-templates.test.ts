/** Real chat templates: which tool format `--tool-call-parser auto` takes for each. A format is only taken where it reads the calls that the template prints. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ChatMessage, createChatTemplate } from '../../src/chat/template.js';
import { toolFormatOf } from '../../src/parsing/from-template.js';
import { sharedData } from '../shared-data.js';

/** By the beginnings of their names. Those without a format here print calls in a way that cannot be read; all others are `generic`. */
const expected: readonly (readonly [format: string | null, templates: string])[] = [
  ['hermes', 'Bielik MiMo NousResearch Qwen-QwQ Qwen-Qwen2.5 Qwen-Qwen3 Reka ibm-granite-granite-4 qwen2.5 qwen3'],
  // These print no calls of past turns, or refuse to.
  ['hermes', 'CohereForAI-c4ai-command-r-plus HuggingFaceTB LFM2-8B LFM2.5-Instruct fireworks google-gemma-2 llama-cpp-rwkv'],
  ['hermes', 'microsoft smollm2'],
  ['qwen3_coder', 'NVIDIA-Nemotron-3 Qwen3-Coder Qwen3.5 StepFun'],
  ['mistral', 'mistralai-Mistral-Nemo'],
  ['mistral_v11', 'Mistral-Small mistralai-Ministral unsloth-mistral'],
  ['llama3_json', 'meta-llama'],
  ['deepseek_v3', 'deepseek-ai-DeepSeek-R1 llama-cpp-deepseek'],
  ['deepseek_v31', 'deepseek-ai-DeepSeek-V3.1'],
  ['granite', 'ibm-granite-granite-3.3'],
  ['kimi_k2', 'Kimi-K2 moonshotai'],
  ['lfm2', 'LFM2.5-8B'],
  ['gemma4', 'google-gemma-4'],
  ['deepseek_v32', 'deepseek-ai-DeepSeek-V3.2'],
  ['deepseek_v4', 'deepseek-ai-DeepSeek-V4'],
  [null, 'GigaChat3 Kimi-K3 MiniMax-M3 meetkai-functionary-medium-v3.2 muse openai-gpt-oss upstage'],
];

function expectedFor(template: string): string | null {
  const row = expected.find(([, names]) => names.split(' ').some((name) => template.startsWith(name)));
  return row === undefined ? 'generic' : row[0];
}

const folder = sharedData === null ? null : join(sharedData, 'chat-templates', 'templates');

test('the format of every template', { skip: folder === null && '../shared/data is not here' }, () => {
  for (const file of readdirSync(folder!)) {
    const source = readFileSync(join(folder!, file), 'utf8');
    const template = createChatTemplate(source, { bosToken: '<BOS>', eosToken: '<EOS>' });
    const format = toolFormatOf(source, (messages, options) =>
      template.render(messages as readonly ChatMessage[], { ...options, continueFinalMessage: false }),
    );
    assert.equal(format?.name ?? null, expectedFor(file), file);
  }
});
