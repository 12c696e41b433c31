/**
 * 73 real chat templates against what transformers renders with Python's Jinja2 (`SOURCE.txt` of the shared folder's chat-templates). All 1,658 texts
 * are equal and every refusal of a template carries its message; where Python stops with an error of its own (None is not iterable, …),
 * rendering something is as good.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ChatMessage, createChatTemplate } from '../../src/chat/template.js';
import { LockstepError } from '../../src/errors.js';
import { loadTokenizer } from '../../src/tokenizer/load.js';
import { sharedData } from '../shared-data.js';

interface Cases {
  readonly bos_token: string;
  readonly eos_token: string;
  readonly now: string;
  readonly cases: Readonly<
    Record<
      string,
      { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[]; readonly kwargs?: Record<string, unknown> }
    >
  >;
}
interface Expected {
  readonly renders: readonly {
    readonly case: string;
    readonly add_generation_prompt: boolean;
    readonly text?: string;
    readonly error?: string;
  }[];
}

interface Golden {
  readonly prompts: readonly {
    readonly messages: readonly ChatMessage[];
    readonly rendered: string;
    readonly prompt_ids: readonly number[];
  }[];
}

const folder = sharedData === null ? null : join(sharedData, 'chat-templates');
const readJson = <T>(path: string) => JSON.parse(readFileSync(path, 'utf8')) as T;

for (const file of folder === null ? [] : readdirSync(join(folder, 'templates'))) {
  const name = file.replace(/\.jinja$/, '');
  test(name, () => {
    const { bos_token, eos_token, now, cases } = readJson<Cases>(join(folder!, 'cases.json'));
    // The expected texts were made with content as it is.
    const settings = { contentFormat: 'openai', noContent: null, now: () => new Date(now) } as const;
    const template = createChatTemplate(
      readFileSync(join(folder!, 'templates', file), 'utf8'),
      { bosToken: bos_token, eosToken: eos_token },
      settings,
    );
    for (const expected of readJson<Expected>(join(folder!, 'expected', `${name}.json`)).renders) {
      const { messages, tools, kwargs } = cases[expected.case]!;
      const options = { addGenerationPrompt: expected.add_generation_prompt, continueFinalMessage: false };
      const render = () =>
        template.render(messages, { ...options, ...(tools === undefined ? {} : { tools }), ...(kwargs === undefined ? {} : { kwargs }) });
      const raised = /^TemplateError: (.*)/s.exec(expected.error ?? '')?.[1];
      if (expected.text !== undefined) assert.equal(render(), expected.text, `${expected.case} ${expected.add_generation_prompt}`);
      else if (raised !== undefined) {
        assert.throws(render, (error) => error instanceof LockstepError && error.code === 'invalid_value' && error.message === raised);
      }
    }
  });
}

test('chat templates', { skip: folder !== null ? false : '../shared/data is not here' }, () => {
  assert.equal(readdirSync(join(folder!, 'templates')).length, 73);
});

test('SmolLM2: from messages to ids, as its goldens have them', { skip: folder === null && '../shared/data is not here' }, async () => {
  const path = join(sharedData!, 'tokenizers/smollm2/tokenizer.json');
  const config = readJson<Record<string, string>>(join(sharedData!, 'tokenizers/smollm2/tokenizer_config.json'));
  const tokenizer = await loadTokenizer({ kind: 'huggingface', path, config });
  const template = createChatTemplate(readFileSync(join(folder!, 'templates/smollm2.jinja'), 'utf8'), tokenizer);
  const { prompts } = readJson<Golden>(join(sharedData!, 'smollm2/golden-f32.json'));
  for (const { messages, rendered, prompt_ids } of prompts) {
    if (messages === undefined) continue; // a prompt that is plain text
    const text = template.render(messages, { addGenerationPrompt: true, continueFinalMessage: false });
    assert.equal(text, rendered);
    assert.deepEqual([...(await tokenizer.encode(text, { addSpecialTokens: false }))], prompt_ids);
  }
});
