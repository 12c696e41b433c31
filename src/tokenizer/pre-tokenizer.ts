/** Cuts a normalised text into the words inside which merges happen: the pre-tokenizers of tokenizer.json that BPE tokenizers use. */
import { type Component, components, type PatternDefinition, UnsupportedComponent } from './definition.js';
import { translatePattern } from './pattern.js';

/** `atStart`: whether the first piece starts the whole text. */
export type PreTokenizer = (pieces: readonly string[], atStart: boolean) => readonly string[];

/** ByteLevel's own pattern (OpenAI GPT-2, encoder.py). */
export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export function createPreTokenizer(definition: Component | null): PreTokenizer {
  if (definition === null) return (pieces) => pieces;
  switch (definition.type) {
    case 'Sequence': {
      const steps = components(definition.pretokenizers).map(createPreTokenizer);
      return (pieces, atStart) => steps.reduce((result, step) => step(result, atStart), pieces);
    }
    case 'ByteLevel':
      return byteLevel(definition.add_prefix_space !== false, definition.use_regex !== false);
    case 'Split':
      return split(definition.pattern as PatternDefinition, String(definition.behavior), definition.invert === true);
    case 'Digits':
      return perPiece(isolate(definition.individual_digits === true ? /\p{N}/gu : /\p{N}+/gu));
    case 'Metaspace':
      return metaspace(definition);
    default:
      throw new UnsupportedComponent(`pre-tokenizer ${definition.type}`);
  }
}

type Cut = (piece: string) => readonly string[];

function perPiece(cut: Cut): PreTokenizer {
  return (pieces) => (pieces.length === 1 ? cut(pieces[0]!) : pieces.flatMap(cut));
}

/** The bytes themselves are the model's business; this only cuts. */
function byteLevel(addPrefixSpace: boolean, useRegex: boolean): PreTokenizer {
  const cut: Cut = useRegex ? isolate(translatePattern(gpt2Pattern)) : (piece) => [piece];
  return perPiece((piece) => cut(addPrefixSpace && !piece.startsWith(' ') ? ` ${piece}` : piece));
}

/** Matches and the text between them, each a piece of its own. */
function isolate(pattern: RegExp): Cut {
  const capturing = new RegExp(`(${pattern.source})`, pattern.flags);
  return (piece) => {
    const matches = piece.match(pattern);
    if (matches === null) return [piece];
    let covered = 0;
    for (const match of matches) covered += match.length;
    // Nearly always the pattern covers the text. Where it does not, the gaps are kept, as tokenizers does.
    return covered === piece.length ? matches : piece.split(capturing).filter((part) => part !== '');
  };
}

function split(pattern: PatternDefinition, behavior: string, invert: boolean): PreTokenizer {
  const regex = 'Regex' in pattern ? translatePattern(pattern.Regex) : new RegExp(escapePattern(pattern.String), 'gu');
  if (behavior === 'Isolated') return perPiece(isolate(regex));
  const capturing = new RegExp(`(${regex.source})`, regex.flags);
  return perPiece((piece) => {
    // Odd parts are matches. Which of the two kinds is the delimiter depends on `invert`.
    const parts = piece.split(capturing).map((text, i) => ({ text, delimiter: (i % 2 === 1) !== invert }));
    return joinDelimiters(
      parts.filter(({ text }) => text !== ''),
      behavior,
    );
  });
}

function joinDelimiters(parts: readonly { readonly text: string; readonly delimiter: boolean }[], behavior: string): readonly string[] {
  const out: string[] = [];
  let previousDelimiter = false;
  for (const [i, { text, delimiter }] of parts.entries()) {
    const joins =
      i > 0 &&
      (behavior === 'MergedWithPrevious'
        ? delimiter && !previousDelimiter
        : behavior === 'MergedWithNext'
          ? previousDelimiter && !delimiter
          : behavior === 'Contiguous' && delimiter === previousDelimiter);
    if (joins) out[out.length - 1] += text;
    else if (!(delimiter && behavior === 'Removed')) out.push(text);
    previousDelimiter = delimiter;
  }
  return out;
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function metaspace(definition: Component): PreTokenizer {
  const mark = String(definition.replacement ?? '▁');
  const scheme = definition.prepend_scheme ?? (definition.add_prefix_space === false ? 'never' : 'always');
  const cut = definition.split === false ? null : new RegExp(`(?=${escapePattern(mark)})`, 'u');
  return (pieces, atStart) =>
    pieces.flatMap((piece, i) => {
      const marked = piece.replaceAll(' ', mark);
      const prepends = scheme === 'always' || (scheme === 'first' && atStart && i === 0);
      const text = prepends && !marked.startsWith(mark) ? mark + marked : marked;
      return cut === null ? [text] : text.split(cut);
    });
}
