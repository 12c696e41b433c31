/** Reads tokenizer.json and tokenizer_config.json. */
import type { AddedToken, BpeModel, Component, OtherModel, TokenizerDefinition } from './definition.js';

type Json = Readonly<Record<string, unknown>>;

/** `config`: tokenizer_config.json, parsed. Throws an `Error` that says what is wrong. */
export function parseTokenizerJson(text: string, config: Json): TokenizerDefinition {
  const file: unknown = JSON.parse(text);
  if (!isObject(file) || !isObject(file.model)) throw new Error('it has no "model"');
  const [vocab, tokens] = parseVocabulary(file.model.vocab);
  return {
    vocab,
    tokens,
    addedTokens: addedTokens(file.added_tokens, config.added_tokens_decoder),
    normalizer: component(file, 'normalizer'),
    preTokenizer: component(file, 'pre_tokenizer'),
    postProcessor: component(file, 'post_processor'),
    decoder: component(file, 'decoder'),
    model: parseModel(file.model),
    bosToken: tokenText(config.bos_token),
    eosToken: tokenText(config.eos_token),
  };
}

/** Ids above are a broken file: no vocabulary is near. */
const tokenIdMax = 2 ** 22;

/** {token: id}; of Unigram models [[token, score], …]. A `for in` loop takes half the time of `Object.entries` (23 ms for 49,000 tokens). */
function parseVocabulary(value: unknown): [Map<string, number>, string[]] {
  const vocab = new Map<string, number>();
  const tokens: string[] = [];
  const add = (token: string, id: unknown): void => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > tokenIdMax)
      throw new Error(`its token ${JSON.stringify(token)} has the id ${id}`);
    vocab.set(token, id);
    tokens[id] = token;
  };
  if (Array.isArray(value)) for (const [id, entry] of value.entries()) add(String(Array.isArray(entry) ? entry[0] : entry), id);
  else if (isObject(value)) for (const token in value) add(token, value[token]);
  else throw new Error('its model has no "vocab"');
  return [vocab, tokens];
}

function parseModel(model: Json): BpeModel | OtherModel {
  // Files from before 2020 leave the type out; only BPE has merges.
  const type = model.type ?? (Array.isArray(model.merges) ? 'BPE' : undefined);
  if (type === 'BPE') {
    if (!Array.isArray(model.merges)) throw new Error('its BPE model has no "merges"');
    return { ...(model as Omit<BpeModel, 'type'> & Json), merges: model.merges as BpeModel['merges'], type };
  }
  if (type === 'Unigram' || type === 'WordPiece' || type === 'WordLevel') return { type };
  throw new Error(`its model is of type ${JSON.stringify(type)}; BPE, Unigram, WordPiece and WordLevel are known`);
}

function component(file: Json, field: string): Component | null {
  const value = file[field] ?? null;
  if (value === null) return null;
  if (!isObject(value) || typeof value.type !== 'string') throw new Error(`its "${field}" has no "type"`);
  return value as Component;
}

/** The file's own, and those that only tokenizer_config.json knows, as transformers does. */
function addedTokens(list: unknown, decoder: unknown): readonly AddedToken[] {
  const tokens: AddedToken[] = [];
  for (const entry of Array.isArray(list) ? list : []) tokens.push(addedToken(entry, isObject(entry) ? entry.id : undefined));
  const known = new Set(tokens.map(({ id }) => id));
  for (const [id, entry] of isObject(decoder) ? Object.entries(decoder) : []) {
    if (!known.has(Number(id))) tokens.push(addedToken(entry, Number(id)));
  }
  return tokens;
}

function addedToken(entry: unknown, id: unknown): AddedToken {
  if (!isObject(entry) || typeof entry.content !== 'string' || !Number.isInteger(id))
    throw new Error('an added token lacks "content" or "id"');
  return {
    id: id as number,
    content: entry.content,
    single_word: entry.single_word === true,
    lstrip: entry.lstrip === true,
    rstrip: entry.rstrip === true,
    normalized: entry.normalized === true,
    special: entry.special === true,
  };
}

/** "<s>", or {"content": "<s>", …} in older files. */
function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value.content === 'string' ? value.content : null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
