/**
 * The tokenizer inside a GGUF file (keys tokenizer.ggml.*), in the form of tokenizer.json. GGUF names the pre-tokenizer instead of describing it: the
 * patterns are those of the models' own tokenizer.json files, and of llama.cpp's llama-vocab.cpp where there is none.
 */
import type { GgufFile, GgufValue } from '../model/gguf.js';
import type { AddedToken, BpeDefinition, Component } from './definition.js';
import { gpt2Pattern } from './pre-tokenizer.js';

/** tokenizer.ggml.token_type */
const unknownType = 2;
const controlType = 3;
const userDefinedType = 4;

interface PreTokenization {
  /** Applied one after the other, each piece of the one before. */
  readonly patterns: readonly string[];
  readonly nfc?: boolean;
  /** Where the file does not say it. */
  readonly addBos?: boolean;
  readonly ignoreMerges?: boolean;
}

const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const words = (digits: string) =>
  `${contraction}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const casedWords = (ending: string, digits: string) => {
  const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
  const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
  const lead = '[^\\r\\n\\p{L}\\p{N}]?';
  return `${lead}${upper}*${lower}+${ending}|${lead}${upper}+${lower}*${ending}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
};

const gpt2: PreTokenization = { patterns: [gpt2Pattern] };
const digitsThenGpt2: PreTokenization = { patterns: ['\\p{N}', gpt2Pattern] };
const llama3: PreTokenization = { patterns: [words('\\p{N}{1,3}')], addBos: true, ignoreMerges: true };
const qwen2: PreTokenization = { patterns: [words('\\p{N}')], nfc: true };

/** By tokenizer.ggml.pre. */
const preTokenizations: Readonly<Record<string, PreTokenization>> = {
  default: { patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', gpt2Pattern, '\\p{N}+', '[0-9][0-9][0-9]'] },
  'gpt-2': gpt2,
  'phi-2': gpt2,
  olmo: gpt2,
  mpt: gpt2,
  smollm: digitsThenGpt2,
  starcoder: digitsThenGpt2,
  refact: digitsThenGpt2,
  codeshell: digitsThenGpt2,
  'command-r': digitsThenGpt2,
  'llama-bpe': llama3,
  llama3: llama3,
  'llama-v3': llama3,
  dbrx: { patterns: llama3.patterns },
  'smaug-bpe': { patterns: llama3.patterns },
  qwen2: qwen2,
  'deepseek-r1-qwen': qwen2,
  stablelm2: { patterns: qwen2.patterns },
  tekken: { patterns: [casedWords('', '\\p{N}')], addBos: true, ignoreMerges: true },
  'gpt-4o': { patterns: [casedWords(`${contraction}?`, '\\p{N}{1,3}')] },
};

/** Throws an `Error` that says what is wrong. */
export function parseGgufTokenizer({ metadata }: GgufFile): BpeDefinition {
  const kind = metadata.get('tokenizer.ggml.model');
  if (kind === undefined) throw new Error('it holds no tokenizer (tokenizer.ggml.model)');
  const tokens = texts(metadata, 'tokens');
  const vocab = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!vocab.has(token)) vocab.set(token, id);
  const common = {
    vocab,
    tokens,
    addedTokens: addedTokens(metadata, tokens),
    bosToken: tokens[Number(metadata.get('tokenizer.ggml.bos_token_id'))] ?? null,
    eosToken: tokens[Number(metadata.get('tokenizer.ggml.eos_token_id'))] ?? null,
  };
  if (kind === 'gpt2') return { ...common, ...byteLevel(metadata, tokens) };
  if (kind === 'llama') return { ...common, ...sentencePiece(metadata, tokens) };
  throw new Error(`its tokenizer is of the kind ${JSON.stringify(kind)}; gpt2 (byte-level BPE) and llama (SentencePiece) are known`);
}

type Metadata = ReadonlyMap<string, GgufValue>;
type Parts = Pick<BpeDefinition, 'normalizer' | 'preTokenizer' | 'postProcessor' | 'decoder' | 'model'>;

function byteLevel(metadata: Metadata, tokens: readonly string[]): Parts {
  const name = String(metadata.get('tokenizer.ggml.pre') ?? 'default');
  const pre = Object.hasOwn(preTokenizations, name) ? preTokenizations[name] : undefined;
  if (pre === undefined)
    throw new Error(`its pre-tokenizer (tokenizer.ggml.pre) ${JSON.stringify(name)} is not known; use the model's tokenizer.json`);
  const splits = pre.patterns.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }));
  return {
    normalizer: pre.nfc === true ? { type: 'NFC' } : null,
    preTokenizer: { type: 'Sequence', pretokenizers: [...splits, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }] },
    postProcessor: frame(metadata, tokens, pre.addBos === true),
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', merges: texts(metadata, 'merges'), ignore_merges: pre.ignoreMerges === true },
  };
}

function sentencePiece(metadata: Metadata, tokens: readonly string[]): Parts {
  const scores = metadata.get('tokenizer.ggml.scores');
  if (!Array.isArray(scores) || scores.length !== tokens.length) throw new Error('its tokenizer.ggml.scores are not one number a token');
  const prefix = metadata.get('tokenizer.ggml.add_space_prefix') !== false;
  const spaces: Component = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const decoders = [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }];
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, spaces] } : spaces,
    preTokenizer: null,
    postProcessor: frame(metadata, tokens, true),
    decoder: { type: 'Sequence', decoders: prefix ? [...decoders, { type: 'Strip', content: ' ', start: 1, stop: 0 }] : decoders },
    model: {
      type: 'BPE',
      merges: [],
      scores: scores as readonly number[],
      unk_token: tokens[Number(metadata.get('tokenizer.ggml.unknown_token_id') ?? 0)] ?? null,
      fuse_unk: true,
      byte_fallback: true,
    },
  };
}

function frame(metadata: Metadata, tokens: readonly string[], addBosDefault: boolean): Component {
  const special = (key: string, wanted: boolean) => {
    const id = metadata.get(`tokenizer.ggml.${key}_token_id`);
    return wanted && typeof id === 'number' && id < tokens.length ? [id] : [];
  };
  const bos = special(
    'bos',
    metadata.get('tokenizer.ggml.add_bos_token') !== undefined ? metadata.get('tokenizer.ggml.add_bos_token') === true : addBosDefault,
  );
  const eos = special('eos', metadata.get('tokenizer.ggml.add_eos_token') === true);
  const items = (ids: readonly number[]) => ids.map((id) => ({ SpecialToken: { id: String(id) } }));
  return {
    type: 'TemplateProcessing',
    single: [...items(bos), { Sequence: { id: 'A' } }, ...items(eos)],
    special_tokens: Object.fromEntries([...bos, ...eos].map((id) => [String(id), { ids: [id] }])),
  };
}

/** Control, unknown and user-defined tokens are parsed inside a text. Phi-3's take the white space behind them along, which GGUF cannot say. */
function addedTokens(metadata: Metadata, tokens: readonly string[]): readonly AddedToken[] {
  const types = metadata.get('tokenizer.ggml.token_type');
  if (!Array.isArray(types)) return [];
  const phi3 = metadata.get('general.architecture') === 'phi3' && metadata.get('tokenizer.ggml.model') === 'llama';
  return tokens.flatMap((content, id) => {
    const type: unknown = types[id];
    if (type !== controlType && type !== userDefinedType && type !== unknownType) return [];
    const rstrip = phi3 && (content === '</s>' || (content.startsWith('<|') && content !== '<|endoftext|>'));
    return [{ id, content, single_word: false, lstrip: false, rstrip, normalized: false, special: type !== userDefinedType }];
  });
}

function texts(metadata: Metadata, key: string): readonly string[] {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return value as readonly string[];
  throw new Error(`its tokenizer.ggml.${key} is not a list of texts`);
}
