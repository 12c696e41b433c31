/** The request bodies of the pooling routes: a row a field, most of them shared. */
import { type Field, requestBody } from '../fields.js';
import { cacheSalt, messages, prompt } from '../request-fields.js';
import { anyObject, anyOf, anything, boolean, integer, list, oneWord, type Schema, string } from '../schema.js';

/** Most inputs of one request, as OpenAI's API takes. */
export const inputsMax = 2048;

const refused = (name: string, help: string, more: Pick<Field, 'neutral' | 'refusal'> = {}): Field => ({
  name,
  schema: anything,
  use: 'refused',
  help,
  ...more,
});
const later = 'not served by this version';

// biome-ignore format: a row a field
const common: readonly Field[] = [
  { name: 'model', schema: string, use: 'honoured', help: 'a served name; unset: the first' },
  { name: 'user', schema: string, use: 'accepted', help: 'for the client' },
  { name: 'truncate_prompt_tokens', schema: { type: 'integer', minimum: -1 }, use: 'honoured', range: '1 … --max-model-len; -1: as long as the model takes',
    help: 'longer inputs are cut to so many tokens; unset: they are refused' },
  { name: 'request_id', schema: string, use: 'honoured', help: 'becomes part of the id; X-Request-Id wins' },
  { name: 'priority', schema: integer, use: 'honoured', default: 0, range: '53 bits, signed', help: 'lower runs first; needs --scheduling-policy priority' },
  { name: 'cache_salt', schema: cacheSalt, use: 'honoured', help: 'prefixes are shared only between requests of one salt' },
  { name: 'use_activation', schema: boolean, use: 'honoured', help: "length 1 for embeddings, probabilities for scores; unset: as the model's files say" },
  refused('normalize', 'an older name', { refusal: 'Parameter `normalize` was removed; use `use_activation` instead.' }),
  refused('padding', later, { neutral: ['do_not_pad'] }),
  refused('mm_processor_kwargs', later),
];

// biome-ignore format: a row a field
const inputs: readonly Field[] = [
  { name: 'input', schema: prompt, use: 'honoured', range: `at most ${inputsMax}`, help: 'text, a list of texts, token ids, or a list of lists of token ids' },
  { name: 'truncation_side', schema: oneWord('left', 'right'), use: 'honoured', default: 'right', help: 'the end from which tokens are cut' },
  { name: 'add_special_tokens', schema: boolean, use: 'honoured', help: "the tokenizer's own frame around the input; unset: not around a conversation" },
  { name: 'messages', schema: messages, use: 'honoured', help: 'a conversation in place of the input' },
  { name: 'add_generation_prompt', schema: boolean, use: 'honoured', default: false, help: 'end the conversation with the head of an answer' },
  { name: 'continue_final_message', schema: boolean, use: 'honoured', default: false, help: 'leave the last message open' },
  { name: 'chat_template_kwargs', schema: anyObject, use: 'honoured', help: 'variables for the chat template' },
  { name: 'chat_template', schema: string, use: 'honoured', help: 'refused: only --chat-template sets one' },
  refused('media_io_kwargs', later),
];

// biome-ignore format: a row a field
const encoding: readonly Field[] = [
  { name: 'encoding_format', schema: oneWord('float', 'base64'), use: 'honoured', default: 'float', help: 'base64: of little-endian float32' },
  { name: 'dimensions', schema: { type: 'integer', minimum: 1 }, use: 'honoured', help: 'leading values of the embedding, for models made for it (Matryoshka)' },
  refused('embed_dtype', later, { neutral: ['float32'] }),
  refused('endianness', later, { neutral: ['native', 'little'] }),
];

const text: Schema = string;
const texts: Schema = { anyOf: [string, list(string)], title: 'a string or a list of strings' };

// biome-ignore format: a row a field
const scorePairs: readonly Field[] = [
  { name: 'text_1', schema: texts, use: 'honoured', help: 'one text, or as many as there are others' },
  { name: 'text_2', schema: texts, use: 'honoured', help: 'texts that are scored against it' },
  { name: 'queries', schema: texts, use: 'honoured', help: 'text_1 by another name' },
  { name: 'data_1', schema: texts, use: 'honoured', help: 'text_1 by another name' },
  { name: 'documents', schema: texts, use: 'honoured', help: 'text_2 by another name' },
  { name: 'items', schema: texts, use: 'honoured', help: 'text_2 by another name' },
  { name: 'data_2', schema: texts, use: 'honoured', help: 'text_2 by another name' },
];

// biome-ignore format: a row a field
const rerankPairs: readonly Field[] = [
  { name: 'query', schema: text, use: 'honoured', required: true, help: 'what is searched for' },
  { name: 'documents', schema: list(anyOf(string, { type: 'object', properties: { text: string }, required: ['text'] }), { title: 'a list of texts' }),
    use: 'honoured', required: true, range: `at most ${inputsMax}`, help: 'texts, or objects with a text' },
  { name: 'top_n', schema: { type: 'integer', minimum: 0 }, use: 'honoured', default: 0, help: 'how many of the best are told; 0: all' },
  { name: 'return_documents', schema: boolean, use: 'honoured', default: true, help: 'repeat the documents in the answer' },
];

const perText: readonly Field[] = [
  refused('max_tokens_per_query', later, { neutral: [0] }),
  refused('max_tokens_per_doc', later, { neutral: [0] }),
];

export const embeddingBody = requestBody('EmbeddingRequest', [...common, ...inputs, ...encoding]);
export const classifyBody = requestBody('ClassificationRequest', [...common, ...inputs]);
export const poolingBody = requestBody('PoolingRequest', [
  ...common,
  ...inputs,
  ...encoding,
  { name: 'task', schema: oneWord('embed', 'classify'), use: 'honoured', help: "what the model's vectors are; unset: what they are" },
]);
export const scoreBody = requestBody('ScoreRequest', [...common, ...scorePairs, ...perText]);
export const rerankBody = requestBody('RerankRequest', [...common, ...rerankPairs, ...perText]);
