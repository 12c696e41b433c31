/** Where a folder keeps its tokenizer and its chat template. Rendering is `chat/template.ts`'s, encoding the tokenizer's. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startError } from '../errors.js';
import { Config, isFields, readJsonObject } from './config.js';
import type { TokenizerSource } from './spec.js';

export function tokenizerSource(folder: string): Extract<TokenizerSource, { kind: 'huggingface' }> {
  const path = join(folder, 'tokenizer.json');
  if (!existsSync(path)) {
    const other = ['tokenizer.model', 'vocab.json', 'tekken.json'].find((name) => existsSync(join(folder, name)));
    const hint = other ? `; ${other} alone cannot be read, save the tokenizer with transformers once to get tokenizer.json` : '';
    throw startError(`${folder} holds no tokenizer.json${hint}`);
  }
  return { kind: 'huggingface', path, config: tokenizerConfig(folder) };
}

function tokenizerConfig(folder: string): Readonly<Record<string, unknown>> {
  const path = join(folder, 'tokenizer_config.json');
  return existsSync(path) ? readJsonObject(path) : {};
}

/** chat_template.jinja goes before tokenizer_config.json's, which is one template or a list of named ones. null: none. */
export function chatTemplate(folder: string): string | null {
  const file = join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const stated = tokenizerConfig(folder).chat_template;
  if (stated !== undefined && stated !== null) return oneTemplate(join(folder, 'tokenizer_config.json'), stated);
  const processor = join(folder, 'chat_template.json');
  return existsSync(processor) ? oneTemplate(processor, readJsonObject(processor).chat_template) : null;
}

function oneTemplate(where: string, stated: unknown): string {
  if (typeof stated === 'string') return stated;
  const named = Array.isArray(stated) ? stated.filter(isFields) : [];
  const chosen = named.find((entry) => entry.name === 'default') ?? named[0];
  if (typeof chosen?.template !== 'string')
    throw new Config(where, { chat_template: stated }).fault('chat_template', 'a template, or a list of {name, template}');
  return chosen.template;
}
