/** `--reasoning-config`: what of vLLM's settings has a meaning where --reasoning-parser knows the markers. */
import { startError } from '../errors.js';
import type { ReasoningFormat } from '../parsing/reasoning-format.js';

const keys = ['reasoning_parser', 'reasoning_start_str', 'reasoning_end_str'] as const;

/**
 * The text that ends reasoning where `thinking_token_budget` does; null: the parser's own end. `parser`: as --reasoning-parser has it; `format`:
 * what that is for this model. Throws LockstepError `start` naming the setting that cannot be honoured.
 */
export function forcedReasoningEnd(
  config: Readonly<Record<string, unknown>>,
  parser: string | null,
  format: ReasoningFormat | null,
): string | null {
  const { reasoning_parser: named, reasoning_start_str: begin, reasoning_end_str: end } = textsOf(config);
  if (named !== '' && named !== parser) refuse(`reasoning_parser is ${named}; --reasoning-parser names one`);
  if (begin === '' && end === '') return null;
  if (format === null) return refuse('it needs --reasoning-parser, and a model that reasons');
  if (begin !== '' && begin !== format.begin)
    refuse(`reasoning_start_str is ${format.begin} with --reasoning-parser ${parser}, not ${begin}`);
  if (end !== '' && !end.includes(format.end))
    refuse(`reasoning_end_str must hold ${format.end}, which ends reasoning with --reasoning-parser ${parser}`);
  return end === '' ? null : end;
}

function textsOf(config: Readonly<Record<string, unknown>>): Readonly<Record<(typeof keys)[number], string>> {
  const texts = { reasoning_parser: '', reasoning_start_str: '', reasoning_end_str: '' };
  for (const [key, value] of Object.entries(config)) {
    const known = keys.find((each) => each === key) ?? refuse(`'${key}' has no meaning; it takes ${keys.join(', ')}`);
    if (typeof value !== 'string') return refuse(`${key} must be a text, not ${JSON.stringify(value)}`);
    texts[known] = value;
  }
  return texts;
}

function refuse(message: string): never {
  throw startError(`--reasoning-config: ${message}`, { param: 'reasoning-config' });
}
