import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasoningFormats } from '../parsing/reasoning-format.js';
import { forcedReasoningEnd } from './reasoning-config.js';

const qwen3 = reasoningFormats.find(({ name }) => name === 'qwen3')!;

test('what is forced where a budget ends reasoning', () => {
  const forced = (config: object) => forcedReasoningEnd({ ...config }, 'qwen3', qwen3);
  assert.equal(forced({}), null);
  assert.equal(forced({ reasoning_parser: 'qwen3', reasoning_start_str: '<think>', reasoning_end_str: '' }), null);
  assert.equal(forced({ reasoning_end_str: 'Enough.\n</think>\n\n' }), 'Enough.\n</think>\n\n');
});

test('what cannot be honoured is refused by name', () => {
  const refused: [config: Record<string, unknown>, message: RegExp][] = [
    [{ reasoning_parser: 'mistral' }, /^--reasoning-config: reasoning_parser is mistral; --reasoning-parser names one$/],
    [{ reasoning_start_str: '<thought>' }, /reasoning_start_str is <think> with --reasoning-parser qwen3, not <thought>$/],
    [{ reasoning_end_str: 'Enough.' }, /reasoning_end_str must hold <\/think>, which ends reasoning/],
    [{ reasoning_end_str: 5 }, /reasoning_end_str must be a text, not 5$/],
    [{ budget: 5 }, /'budget' has no meaning; it takes reasoning_parser, reasoning_start_str, reasoning_end_str$/],
  ];
  for (const [config, message] of refused) assert.throws(() => forcedReasoningEnd(config, 'qwen3', qwen3), { code: 'start', message });
  assert.throws(() => forcedReasoningEnd({ reasoning_end_str: '</think>' }, null, null), { message: /it needs --reasoning-parser/ });
});
