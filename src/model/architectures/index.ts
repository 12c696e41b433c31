/** The families that can be served: a line a family. */
import { startError } from '../../errors.js';
import type { Config } from '../config.js';
import type { Architecture } from './architecture.js';
import { bert, roberta } from './bert.js';
import { gemma2 } from './gemma2.js';
import { gemma3 } from './gemma3.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { opt } from './opt.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { qwen3Moe } from './qwen3-moe.js';

export const architectures: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma2,
  gemma3,
  phi3,
  gpt2,
  opt,
  mixtral,
  qwen3Moe,
  bert,
  roberta,
];

/** What is left of a class name without what the model is made to do: a family's layers are the same for all of it. */
const stemOf = (name: string) =>
  name.replace(/(ForCausalLM|ForSequenceClassification|ForConditionalGeneration|LMHeadModel|ForMaskedLM|Model)$/, '');

/** The family that config.json names. */
export function architectureOf(config: Config): Architecture {
  const names = config.has('architectures') ? config.strings('architectures') : [];
  const stems = names.map(stemOf);
  const found = architectures.find((architecture) => architecture.names.some((name) => stems.includes(stemOf(name))));
  if (found) return found;
  const supported = architectures.flatMap((architecture) => architecture.names).join(', ');
  const what = names.length > 0 ? `architecture ${names.join(', ')} is not supported` : 'architectures names no model class';
  throw startError(`${config.where}: ${what}; supported are ${supported}`);
}

/** The family that a GGUF header names. */
export function ggufArchitectureOf(path: string, name: string, experts: boolean): Architecture {
  const found = architectures.find(({ gguf }) => gguf?.name === name && gguf.experts === experts);
  if (found) return found;
  const supported = [...new Set(architectures.flatMap(({ gguf }) => (gguf ? [gguf.name] : [])))].join(', ');
  throw startError(
    `${path}: general.architecture ${JSON.stringify(name)}${experts ? ' with experts' : ''} is not supported; supported are ${supported}`,
  );
}
