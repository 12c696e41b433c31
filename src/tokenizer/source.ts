/** From a model's files to a compiled tokenizer. */
import { readFileSync } from 'node:fs';
import { readGguf } from '../model/gguf.js';
import type { TokenizerSource } from '../model/spec.js';
import { type CompiledBpe, compileBpe } from './compiled.js';
import { isBpe, UnsupportedComponent } from './definition.js';
import { parseGgufTokenizer } from './gguf.js';
import { parseTokenizerJson } from './huggingface.js';

/** null: a kind that only the library knows. Throws an `Error` that says what is wrong with the file. */
export function compileSource(source: TokenizerSource): CompiledBpe | null {
  if (source.kind === 'gguf') return compileBpe(parseGgufTokenizer(readGguf(source.path)));
  const definition = parseTokenizerJson(readFileSync(source.path, 'utf8'), source.config);
  if (!isBpe(definition)) return null;
  try {
    return compileBpe(definition);
  } catch (cause) {
    if (cause instanceof UnsupportedComponent) return null;
    throw cause;
  }
}
