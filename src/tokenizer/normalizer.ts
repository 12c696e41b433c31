/** The normalizers of tokenizer.json that BPE tokenizers use; text between added tokens goes through them. */
import { type Component, components, type PatternDefinition, UnsupportedComponent } from './definition.js';
import { translatePattern } from './pattern.js';

export type Normalizer = (text: string) => string;

export function createNormalizer(definition: Component | null): Normalizer {
  if (definition === null) return (text) => text;
  switch (definition.type) {
    case 'Sequence': {
      const steps = components(definition.normalizers).map(createNormalizer);
      return (text) => steps.reduce((result, step) => step(result), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = definition.type;
      return (text) => text.normalize(form);
    }
    case 'Lowercase':
      // Character by character, as Rust's tokenizers do: JavaScript writes a sigma at a word's end as ς.
      return (text) => text.replaceAll('Σ', 'σ').toLowerCase();
    case 'Prepend': {
      const prefix = String(definition.prepend);
      return (text) => (text === '' ? '' : prefix + text);
    }
    case 'Replace':
      return createReplacer(definition.pattern as PatternDefinition, String(definition.content));
    case 'Strip':
      return createStrip(definition.strip_left === true, definition.strip_right === true);
    default:
      throw new UnsupportedComponent(`normalizer ${definition.type}`);
  }
}

/** Also a decoder's step. */
export function createReplacer(pattern: PatternDefinition, content: string): (text: string) => string {
  if ('String' in pattern) {
    const searched = pattern.String;
    return (text) => text.replaceAll(searched, () => content);
  }
  const regex = translatePattern(pattern.Regex);
  return (text) => text.replace(regex, () => content);
}

function createStrip(left: boolean, right: boolean): Normalizer {
  return (text) => {
    const start = left ? text.search(/\P{White_Space}|$/u) : 0;
    const trimmed = text.slice(start);
    return right ? trimmed.replace(/\p{White_Space}+$/u, '') : trimmed;
  };
}
