/** Every field that vLLM's own description of its API names is known here: honoured, accepted or refused by name. Needs ../shared. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { RequestBody } from '../../src/api/fields.js';
import { chatBody, completionBody, detokenizeBody, tokenizeBody } from '../../src/api/request-fields.js';
import { sharedData } from '../shared-data.js';

const bodies: Readonly<Record<string, RequestBody>> = {
  ChatCompletionRequest: chatBody,
  CompletionRequest: completionBody,
  TokenizeCompletionRequest: tokenizeBody,
  TokenizeChatRequest: tokenizeBody,
  DetokenizeRequest: detokenizeBody,
};

test('every field of vLLM has a row', { skip: sharedData === null && '../shared is not here' }, () => {
  const { schemas } = JSON.parse(readFileSync(`${sharedData}/vllm-recordings/request-schemas.json`, 'utf8')) as {
    schemas: Record<string, { properties: Record<string, unknown> }>;
  };
  for (const [name, body] of Object.entries(bodies)) {
    const names = Object.keys(schemas[name]!.properties);
    assert.deepEqual(
      names.filter((field) => !body.fields.has(field)),
      [],
      name,
    );
    assert.ok(names.length > 1);
  }
});
