/**
 * The table of request fields: a row a field, with its type, its range, the routes that take it and what is done with it. Validation, the
 * refusal of unknown fields and the documentation of the API come from these rows. What a value means is the route files'.
 *
 * honoured: has its effect. accepted: asks nothing of the output, so that there is nothing to do. refused: known from OpenAI or vLLM but
 * not served here; only its neutral values pass.
 */
import { isDeepStrictEqual } from 'node:util';
import { LockstepError } from '../errors.js';
import type { JsonObject } from './json-body.js';

export type FieldRoute = 'chat' | 'completions' | 'tokenize' | 'detokenize';
export type FieldType =
  | 'boolean'
  | 'integer'
  | 'number'
  | 'string'
  | 'string or strings'
  | 'token ids'
  | 'object'
  | 'messages'
  | 'prompt'
  | 'any';

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly routes: readonly FieldRoute[];
  readonly use: 'honoured' | 'accepted' | 'refused';
  /** For people; the values are checked where they are read. */
  readonly range?: string;
  readonly help: string;
  /** With 'refused' (and 'accepted'): values besides null that ask for nothing. Without it, 'accepted' takes every value of the type. */
  readonly neutral?: readonly unknown[];
  /** With 'refused': vLLM's own words where it refuses too. */
  readonly refusal?: string;
  /** With 'refusal': vLLM names no parameter. */
  readonly unnamed?: true;
}

const both = ['chat', 'completions'] as const;
const chat = ['chat'] as const;
const completions = ['completions'] as const;
const promptRoutes = ['completions', 'tokenize'] as const;
const messageRoutes = ['chat', 'tokenize'] as const;
const later = 'not served by this version';

// biome-ignore format: a row a field
export const fields: readonly Field[] = [
  { name: 'model', type: 'string', routes: ['chat', 'completions', 'tokenize', 'detokenize'], use: 'honoured', help: 'a served name; unset: the first' },
  { name: 'messages', type: 'messages', routes: messageRoutes, use: 'honoured', help: 'the conversation; content is text or a list of text parts' },
  { name: 'prompt', type: 'prompt', routes: promptRoutes, use: 'honoured', help: 'text, a list of texts, token ids, or a list of lists of token ids' },
  { name: 'tokens', type: 'token ids', routes: ['detokenize'], use: 'honoured', help: 'token ids' },
  { name: 'n', type: 'integer', routes: both, use: 'honoured', range: '1 … 1024', help: 'choices of each prompt' },
  { name: 'temperature', type: 'number', routes: both, use: 'honoured', range: '0 … 2', help: '0: greedy' },
  { name: 'top_p', type: 'number', routes: both, use: 'honoured', range: 'above 0, to 1', help: 'nucleus: the likeliest tokens with this mass' },
  { name: 'top_k', type: 'integer', routes: both, use: 'honoured', range: '-1 …', help: 'the k likeliest tokens; 0 and -1: all' },
  { name: 'min_p', type: 'number', routes: both, use: 'honoured', range: '0 … 1', help: 'tokens at least this likely, relative to the likeliest' },
  { name: 'presence_penalty', type: 'number', routes: both, use: 'honoured', range: '-2 … 2', help: 'subtracted once for a token in the output' },
  { name: 'frequency_penalty', type: 'number', routes: both, use: 'honoured', range: '-2 … 2', help: 'subtracted for each time a token is in the output' },
  { name: 'repetition_penalty', type: 'number', routes: both, use: 'honoured', range: 'above 0', help: 'divides the logits of tokens in prompt or output' },
  { name: 'seed', type: 'integer', routes: both, use: 'honoured', range: '64 bits, signed', help: 'the same seed gives the same tokens; unset or -1: random' },
  { name: 'stop', type: 'string or strings', routes: both, use: 'honoured', help: 'texts that end a choice' },
  { name: 'stop_token_ids', type: 'token ids', routes: both, use: 'honoured', help: 'tokens that end a choice' },
  { name: 'include_stop_str_in_output', type: 'boolean', routes: both, use: 'honoured', help: 'keep the stop text' },
  { name: 'ignore_eos', type: 'boolean', routes: both, use: 'honoured', help: 'go on after an end-of-sequence token' },
  { name: 'min_tokens', type: 'integer', routes: both, use: 'honoured', range: '0 … max_tokens', help: 'no end before this many tokens' },
  { name: 'max_tokens', type: 'integer', routes: both, use: 'honoured', range: '1 …', help: 'most tokens of a choice; unset: 16, in chat what the context leaves' },
  { name: 'max_completion_tokens', type: 'integer', routes: chat, use: 'honoured', range: '1 …', help: 'wins over max_tokens' },
  { name: 'logit_bias', type: 'object', routes: both, use: 'honoured', range: 'values -100 … 100', help: 'token id -> number added to its logit' },
  { name: 'logprobs', type: 'any', routes: both, use: 'honoured', help: 'chat: whether; completions: how many log-probabilities a token' },
  { name: 'top_logprobs', type: 'integer', routes: chat, use: 'honoured', range: '0 … --max-logprobs', help: 'likeliest tokens shown at each position' },
  { name: 'prompt_logprobs', type: 'integer', routes: both, use: 'honoured', range: '0 … --max-logprobs', help: 'the same for the tokens of the prompt; not with stream' },
  { name: 'stream', type: 'boolean', routes: both, use: 'honoured', help: 'server-sent events, one or more a token' },
  { name: 'stream_options', type: 'object', routes: both, use: 'honoured', help: 'include_usage, continuous_usage_stats' },
  { name: 'skip_special_tokens', type: 'boolean', routes: both, use: 'honoured', help: 'leave special tokens out of the text' },
  { name: 'add_generation_prompt', type: 'boolean', routes: messageRoutes, use: 'honoured', help: 'end the prompt with the head of an answer' },
  { name: 'continue_final_message', type: 'boolean', routes: messageRoutes, use: 'honoured', help: 'go on with the last message' },
  { name: 'chat_template_kwargs', type: 'object', routes: messageRoutes, use: 'honoured', help: 'variables for the chat template' },
  { name: 'add_special_tokens', type: 'boolean', routes: ['chat', 'completions', 'tokenize'], use: 'honoured', help: "the tokenizer's own frame around the prompt" },
  { name: 'echo', type: 'boolean', routes: completions, use: 'honoured', help: 'the prompt before the text' },
  { name: 'priority', type: 'integer', routes: both, use: 'honoured', help: 'lower runs first; needs --scheduling-policy priority' },
  { name: 'return_token_ids', type: 'boolean', routes: both, use: 'honoured', help: 'add the ids of prompt and output' },
  { name: 'request_id', type: 'string', routes: both, use: 'honoured', help: 'becomes part of the id; X-Request-Id wins' },
  { name: 'cache_salt', type: 'string', routes: both, use: 'honoured', help: 'prefixes are shared only between requests of one salt' },
  { name: 'return_token_strs', type: 'boolean', routes: ['tokenize'], use: 'honoured', help: 'add the text of each token' },

  { name: 'user', type: 'string', routes: both, use: 'accepted', help: 'for the client' },
  { name: 'metadata', type: 'object', routes: both, use: 'accepted', help: 'for the client' },
  { name: 'store', type: 'boolean', routes: both, use: 'refused', neutral: [false], help: 'nothing is stored' },
  { name: 'service_tier', type: 'string', routes: both, use: 'accepted', help: 'there is one' },
  { name: 'safety_identifier', type: 'string', routes: both, use: 'accepted', help: 'for the client' },
  { name: 'prompt_cache_key', type: 'string', routes: both, use: 'accepted', help: 'prefixes are found without' },
  { name: 'prompt_cache_retention', type: 'string', routes: both, use: 'accepted', help: 'prefixes stay while there is room' },
  { name: 'prompt_cache_options', type: 'object', routes: both, use: 'accepted', help: 'prefixes stay while there is room' },
  { name: 'prediction', type: 'object', routes: chat, use: 'accepted', help: 'a hint for speed, which changes no token' },
  { name: 'session_id', type: 'string', routes: both, use: 'accepted', help: 'a hint for routers' },
  { name: 'parallel_tool_calls', type: 'boolean', routes: chat, use: 'accepted', help: 'of no effect without tools' },
  { name: 'include_reasoning', type: 'boolean', routes: chat, use: 'refused', neutral: [true], help: later },

  { name: 'tools', type: 'any', routes: messageRoutes, use: 'refused', help: later },
  { name: 'tool_choice', type: 'any', routes: chat, use: 'refused', neutral: ['none'], help: later },
  { name: 'functions', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'function_call', type: 'any', routes: chat, use: 'refused', neutral: ['none'], help: later },
  { name: 'response_format', type: 'any', routes: both, use: 'refused', neutral: [{ type: 'text' }], help: later },
  { name: 'structured_outputs', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'guided_json', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'guided_regex', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'guided_choice', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'guided_grammar', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'best_of', type: 'any', routes: completions, use: 'refused', help: later },
  { name: 'suffix', type: 'any', routes: completions, use: 'refused', help: later,
    refusal: 'suffix is only supported for models with FIM completion rendering' },
  { name: 'echo', type: 'any', routes: chat, use: 'refused', neutral: [false], help: 'only with /v1/completions' },
  { name: 'audio', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'modalities', type: 'any', routes: chat, use: 'refused', neutral: [['text']], help: later },
  { name: 'reasoning_effort', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'thinking_token_budget', type: 'any', routes: both, use: 'refused', neutral: [-1], help: later },
  { name: 'verbosity', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'web_search_options', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'moderation', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'documents', type: 'any', routes: chat, use: 'refused', help: later },
  { name: 'chat_template', type: 'any', routes: messageRoutes, use: 'refused', help: 'only --chat-template sets one',
    refusal: 'Chat template is passed with request, but --trust-request-chat-template is not set. Refused request with untrusted chat template.',
    unnamed: true },
  { name: 'media_io_kwargs', type: 'any', routes: messageRoutes, use: 'refused', help: later },
  { name: 'mm_processor_kwargs', type: 'any', routes: messageRoutes, use: 'refused', help: later },
  { name: 'use_beam_search', type: 'any', routes: both, use: 'refused', neutral: [false], help: later },
  { name: 'length_penalty', type: 'any', routes: both, use: 'refused', neutral: [1], help: later },
  { name: 'allowed_token_ids', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'bad_words', type: 'any', routes: both, use: 'refused', neutral: [[]], help: later },
  { name: 'logprob_token_ids', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'truncate_prompt_tokens', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'truncation_side', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'spaces_between_special_tokens', type: 'any', routes: both, use: 'refused', neutral: [true], help: later },
  { name: 'stream_interval', type: 'any', routes: both, use: 'refused', neutral: [1], help: later },
  { name: 'repetition_detection', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'prompt_embeds', type: 'any', routes: completions, use: 'refused', help: later },
  { name: 'return_tokens_as_token_ids', type: 'any', routes: both, use: 'refused', neutral: [false], help: later },
  { name: 'return_token_offsets', type: 'any', routes: both, use: 'refused', neutral: [false], help: later },
  { name: 'return_prompt_text', type: 'any', routes: chat, use: 'refused', neutral: [false], help: later },
  { name: 'kv_transfer_params', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'ec_transfer_params', type: 'any', routes: both, use: 'refused', help: later },
  { name: 'vllm_xargs', type: 'any', routes: both, use: 'refused', help: later },
];

type Table = ReadonlyMap<string, Field>;
const tableOf = (route: FieldRoute): Table => new Map(fields.filter((row) => row.routes.includes(route)).map((row) => [row.name, row]));
const tables: Readonly<Record<FieldRoute, Table>> = {
  chat: tableOf('chat'),
  completions: tableOf('completions'),
  tokenize: tableOf('tokenize'),
  detokenize: tableOf('detokenize'),
};

/** `--unknown-fields`: 400, or let pass with a Warning header. */
export type UnknownFields = 'refuse' | 'warn';

/** Throws for a wrong type and for a field that cannot be honoured. Returns the unknown fields that were let pass. */
export function checkFields(body: JsonObject, route: FieldRoute, unknownFields: UnknownFields): string[] {
  const passed: string[] = [];
  for (const name in body) {
    const field = tables[route].get(name);
    if (field === undefined) {
      if (unknownFields === 'refuse') throw unrecognized(name);
      passed.push(name);
    } else if (body[name] !== null && body[name] !== undefined) {
      checkType(field, body[name]);
      if (field.use === 'refused') refuse(field, body[name]);
    }
  }
  return passed;
}

export const unrecognized = (name: string) =>
  new LockstepError('invalid_body', `Unrecognized request argument supplied: ${name}`, { param: name });

function refuse(field: Field, value: unknown): void {
  if (field.neutral?.some((neutral) => isDeepStrictEqual(neutral, value))) return;
  const message = field.refusal ?? `\`${field.name}\` is not supported by this server. Leave it out.`;
  throw new LockstepError('invalid_value', message, field.unnamed === true ? {} : { param: field.name });
}

/** What is not as the type says; null: nothing. `at` is the place below the field. */
type TypeCheck = (value: unknown) => { at: string; expected: string } | null;

const expect = (expected: string, test: (value: unknown) => boolean): TypeCheck => {
  return (value) => (test(value) ? null : { at: '', expected });
};
const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);
const isTokenId = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;

const typeChecks: Readonly<Record<FieldType, TypeCheck>> = {
  boolean: expect('true or false', (value) => typeof value === 'boolean'),
  integer: expect('an integer', Number.isInteger),
  number: expect('a number', (value) => typeof value === 'number'),
  string: expect('a string', (value) => typeof value === 'string'),
  object: expect('an object', isObject),
  any: () => null,
  'string or strings': (value) => {
    if (typeof value === 'string') return null;
    return everyItem(value, 'a string or a list of strings', 'a string', (item) => typeof item === 'string');
  },
  'token ids': (value) => everyItem(value, 'a list of token ids', 'an integer', Number.isInteger),
  messages: checkMessages,
  prompt: checkPrompt,
};

function everyItem(value: unknown, whole: string, each: string, test: (item: unknown) => boolean): { at: string; expected: string } | null {
  if (!Array.isArray(value)) return { at: '', expected: whole };
  const wrong = value.findIndex((item) => !test(item));
  return wrong < 0 ? null : { at: `.${wrong}`, expected: each };
}

function checkPrompt(value: unknown): { at: string; expected: string } | null {
  if (typeof value === 'string') return null;
  if (!Array.isArray(value)) return { at: '', expected: 'a string, a list of strings, token ids, or lists of token ids' };
  const [first] = value as unknown[];
  if (typeof first === 'string') return everyItem(value, '', 'a string', (item) => typeof item === 'string');
  if (!Array.isArray(first)) return everyItem(value, '', 'a token id, at least 0', isTokenId);
  for (let i = 0; i < value.length; i++) {
    const wrong = everyItem(value[i], 'a list of token ids', 'a token id, at least 0', isTokenId);
    if (wrong !== null) return { at: `.${i}${wrong.at}`, expected: wrong.expected };
  }
  return null;
}

function checkMessages(value: unknown): { at: string; expected: string } | null {
  const wrong = everyItem(value, 'a list of messages', 'an object', isObject);
  if (wrong !== null) return wrong;
  for (const [i, message] of (value as JsonObject[]).entries()) {
    // The place is the one that vLLM names: the first kind of message that it tried.
    if (typeof message['role'] !== 'string') return { at: `.${i}.ChatCompletionDeveloperMessageParam.role`, expected: 'a string' };
    const { content, tool_calls: toolCalls } = message;
    if (toolCalls !== undefined && toolCalls !== null && !Array.isArray(toolCalls)) return { at: `.${i}.tool_calls`, expected: 'a list' };
    if (content === undefined || content === null || typeof content === 'string') continue;
    const parts = everyItem(
      content,
      'text or a list of parts',
      'an object with a type',
      (part) => isObject(part) && typeof part['type'] === 'string',
    );
    if (parts !== null) return { at: `.${i}.content${parts.at}`, expected: parts.expected };
    const noText = (content as JsonObject[]).findIndex((part) => part['type'] === 'text' && typeof part['text'] !== 'string');
    if (noText >= 0) return { at: `.${i}.content.${noText}.text`, expected: 'a string' };
  }
  return null;
}

function checkType(field: Field, value: unknown): void {
  const wrong = typeChecks[field.type](value);
  if (wrong === null) return;
  throw wrongType(`${field.name}${wrong.at}`, wrong.expected);
}

export const wrongType = (place: string, expected: string) =>
  new LockstepError('invalid_body', `${place} must be ${expected}.`, { param: `body.${place}` });
