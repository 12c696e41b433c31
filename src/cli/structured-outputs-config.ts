/** `--structured-outputs-config`: what of vLLM's settings has a meaning where one compiler makes all grammars. */
import { startError } from '../errors.js';

/** Settings that ask for what is done here anyway, with the values that do; disable_any_whitespace may be either. */
const settled: Readonly<Record<string, readonly unknown[]>> = {
  backend: ['auto'],
  disable_additional_properties: [false],
  enable_in_reasoning: [false],
  reasoning_parser: [''],
  reasoning_parser_plugin: [''],
};

/** Whether the JSON that requests ask for has no spaces. Throws LockstepError `start` naming the setting that cannot be honoured. */
export function isJsonCompact(config: Readonly<Record<string, unknown>>): boolean {
  const refuse = (message: string): never => {
    throw startError(`--structured-outputs-config: ${message}`, { param: 'structured-outputs-config' });
  };
  const { disable_any_whitespace: isCompact = false, ...rest } = config;
  if (typeof isCompact !== 'boolean') refuse(`disable_any_whitespace must be true or false, not ${JSON.stringify(isCompact)}`);
  for (const [name, value] of Object.entries(rest)) {
    const values = settled[name] ?? refuse(`'${name}' has no meaning here; it takes disable_any_whitespace`);
    if (!values.includes(value)) {
      const hint = name === 'reasoning_parser' ? '; --reasoning-parser names one' : '';
      refuse(`${name} can be ${JSON.stringify(values[0])} alone, not ${JSON.stringify(value)}${hint}`);
    }
  }
  return isCompact === true;
}
