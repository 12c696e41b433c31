/**
 * The fields of chat, completions, tokenize and detokenize: one table, since most are shared. The request bodies of other routes stand in
 * those routes' files.
 */
import { beamsMax } from '../engine/beam-search.js';
import { type Field, requestBody } from './fields.js';
import { anyObject, anyOf, anything, boolean, integer, list, mapOf, number, object, oneWord, type Schema, string } from './schema.js';

export type FieldRoute = 'chat' | 'completions' | 'tokenize' | 'detokenize';

export interface SharedField extends Field {
  readonly routes: readonly FieldRoute[];
}

/** Most functions of a request. */
export const toolsMax = 1024;
/** Most choices of a prompt. */
export const choicesMax = 1024;
export const stopStringsMax = 128;
/** What a row of the engine's step holds. */
const logprobIdsMax = 128;
export const cacheSalt: Schema = { type: 'string', minLength: 1, maxLength: 128 };

const both = ['chat', 'completions'] as const;
const chat = ['chat'] as const;
const completions = ['completions'] as const;
const tokenize = ['tokenize'] as const;
const messageRoutes = ['chat', 'tokenize'] as const;

const tokenId: Schema = { type: 'integer', minimum: 0, title: 'a token id, at least 0' };
const tokenIds = list(integer, { title: 'a list of token ids' });
export const allowedIdsMax = 4096;
const badWords = list({ type: 'string', minLength: 1 }, { title: 'a list of texts that are not empty' });

const part = object({ type: string }, { text: string }, { open: true });

/** Roles are the template's affair, and templates read other keys too. */
const message = object(
  { role: string },
  {
    content: anyOf(string, list(part, { title: 'text or a list of parts' })),
    name: string,
    tool_calls: list(anyObject, { title: 'a list' }),
    tool_call_id: string,
  },
  { open: true },
);
export const messages = list(message, { title: 'a list of messages' });

export const prompt: Schema = {
  anyOf: [string, list(string), list(tokenId), list(list(tokenId))],
  title: 'a string, a list of strings, token ids, or lists of token ids',
};

export const noPrompt = 'Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)';

const functionOf = object({ name: string }, { description: string, parameters: anyObject, strict: boolean }, { open: true });
const tool = object({ function: functionOf }, { type: oneWord('function') }, { open: true });
const namedTool = object({ type: oneWord('function'), function: object({ name: string }) });
const allowedTools = object({ mode: oneWord('auto', 'required'), tools: list(namedTool, { minItems: 1 }) });
const toolChoice = anyOf(
  oneWord('none', 'auto', 'required'),
  namedTool,
  object({ type: oneWord('allowed_tools'), allowed_tools: allowedTools }),
);

const streamOptions = object({}, { include_usage: boolean, continuous_usage_stats: boolean, include_obfuscation: { enum: [false] } });

/** More is no pattern that anyone waits for, and a look at it at every token would take time. */
const patternLenMax = 1024;
const patternLen: Schema = { type: 'integer', minimum: 0, maximum: patternLenMax };
const repetition = object({}, { max_pattern_size: patternLen, min_pattern_size: patternLen, min_count: { type: 'integer', minimum: 0 } });

/** A field that is known but not served. */
const refused = (
  name: string,
  routes: readonly FieldRoute[],
  help: string,
  more: Pick<Field, 'neutral' | 'refusal'> = {},
): SharedField => ({
  name,
  schema: anything,
  routes,
  use: 'refused',
  help,
  ...more,
});

const later = 'not served by this version';

// biome-ignore format: a row a field
export const sharedFields: readonly SharedField[] = [
  { name: 'model', schema: string, routes: ['chat', 'completions', 'tokenize', 'detokenize'], use: 'honoured', help: 'a served name; unset: the first' },
  { name: 'messages', schema: messages, routes: chat, use: 'honoured', required: true, help: 'the conversation; content is text or a list of text parts' },
  { name: 'messages', schema: messages, routes: tokenize, use: 'honoured', help: 'a conversation, where there is no prompt' },
  { name: 'prompt', schema: prompt, routes: completions, use: 'honoured', required: noPrompt, help: 'text, a list of texts, token ids, or a list of lists of token ids' },
  { name: 'prompt', schema: string, routes: tokenize, use: 'honoured', help: 'a text' },
  { name: 'suffix', schema: string, routes: completions, use: 'honoured', help: 'what stands behind the text; for models with fill-in-the-middle tokens, and prompts of text' },
  { name: 'tokens', schema: list(tokenId), routes: ['detokenize'], use: 'honoured', required: true, help: 'token ids' },
  { name: 'n', schema: integer, routes: both, use: 'honoured', default: 1, help: 'choices of each prompt',
    limits: [{ minimum: 1, words: 'at least 1' }, { maximum: choicesMax, words: `at most ${choicesMax}`, named: true }] },
  { name: 'temperature', schema: number, routes: both, use: 'honoured', default: 1, help: "0: greedy; unset: the model author's",
    limits: [{ minimum: 0, maximum: 2, words: 'in [0, 2]', named: true }] },
  { name: 'top_p', schema: number, routes: both, use: 'honoured', default: 1, help: 'nucleus: the likeliest tokens with this mass',
    limits: [{ exclusiveMinimum: 0, maximum: 1, words: 'in (0, 1]', named: true }] },
  { name: 'top_k', schema: integer, routes: both, use: 'honoured', default: 0, help: 'the k likeliest tokens; 0 and -1: all',
    limits: [{ minimum: -1, words: '0 (disable), or at least 1' }] },
  { name: 'min_p', schema: number, routes: both, use: 'honoured', default: 0, help: 'tokens at least this likely, relative to the likeliest',
    limits: [{ minimum: 0, maximum: 1, words: 'in [0, 1]' }] },
  { name: 'presence_penalty', schema: number, routes: both, use: 'honoured', default: 0, help: 'subtracted once for a token in the output',
    limits: [{ minimum: -2, maximum: 2, words: 'in [-2, 2]' }] },
  { name: 'frequency_penalty', schema: number, routes: both, use: 'honoured', default: 0, help: 'subtracted for each time a token is in the output',
    limits: [{ minimum: -2, maximum: 2, words: 'in [-2, 2]' }] },
  { name: 'repetition_penalty', schema: number, routes: both, use: 'honoured', default: 1, help: 'divides the logits of tokens in prompt or output',
    limits: [{ exclusiveMinimum: 0, words: 'greater than zero' }] },
  { name: 'use_beam_search', schema: boolean, routes: both, use: 'honoured', default: false,
    help: `the n (at most ${beamsMax}) likeliest outputs by beam search; they come at the end, streamed too` },
  { name: 'length_penalty', schema: number, routes: both, use: 'honoured', default: 1, help: 'of beam search: above 1 favours long outputs, below 1 short ones' },
  { name: 'seed', schema: integer, routes: both, use: 'honoured', range: '64 bits, signed', help: 'the same seed gives the same tokens; unset or -1: random' },
  { name: 'stop', schema: anyOf(string, list(string, { maxItems: stopStringsMax, title: `a list of at most ${stopStringsMax} strings` })), routes: both,
    use: 'honoured', help: 'texts that end a choice' },
  { name: 'stop_token_ids', schema: tokenIds, routes: both, use: 'honoured', help: 'tokens that end a choice' },
  { name: 'include_stop_str_in_output', schema: boolean, routes: both, use: 'honoured', default: false, help: 'keep the stop text' },
  { name: 'ignore_eos', schema: boolean, routes: both, use: 'honoured', default: false, help: 'go on after an end-of-sequence token' },
  { name: 'min_tokens', schema: integer, routes: both, use: 'honoured', default: 0, range: 'at most max_tokens', help: 'no end before this many tokens',
    limits: [{ minimum: 0, words: 'greater than or equal to 0' }] },
  { name: 'max_tokens', schema: integer, routes: both, use: 'honoured', range: '1 … --max-model-len',
    help: 'most tokens of a choice; unset: 16, in chat what the context leaves; 0: with echo in completions, the prompt alone' },
  { name: 'max_completion_tokens', schema: integer, routes: chat, use: 'honoured', range: '1 … --max-model-len', help: 'wins over max_tokens' },
  { name: 'repetition_detection', schema: repetition, routes: both, use: 'honoured',
    help: 'end a choice that repeats a pattern of min_pattern_size … max_pattern_size tokens min_count times' },
  { name: 'logit_bias', schema: anyObject, routes: both, use: 'honoured', range: 'values -100 … 100', help: 'token id -> number added to its logit' },
  { name: 'allowed_token_ids', schema: tokenIds, routes: both, use: 'honoured', range: `1 … ${allowedIdsMax} ids`, help: 'the only tokens that may be sampled' },
  { name: 'bad_words', schema: badWords, routes: both, use: 'honoured', default: [], help: 'texts that the output must not hold, as the tokens that they are alone and behind a space' },
  { name: 'response_format', schema: anyObject, routes: both, use: 'honoured', help: 'text, json_object, json_schema, structural_tag: what the output must be' },
  { name: 'structured_outputs', schema: anyObject, routes: both, use: 'honoured', help: 'one of json, regex, choice, grammar, json_object, structural_tag; disable_any_whitespace' },
  { name: 'guided_json', schema: anyOf(string, anyObject), routes: both, use: 'honoured', help: 'structured_outputs.json' },
  { name: 'guided_regex', schema: string, routes: both, use: 'honoured', help: 'structured_outputs.regex' },
  { name: 'guided_choice', schema: list(string), routes: both, use: 'honoured', help: 'structured_outputs.choice' },
  { name: 'guided_grammar', schema: string, routes: both, use: 'honoured', help: 'structured_outputs.grammar' },
  { name: 'logprobs', schema: boolean, routes: chat, use: 'honoured', default: false, help: 'log-probabilities of the tokens' },
  { name: 'logprobs', schema: integer, routes: completions, use: 'honoured', range: '0 … --max-logprobs', help: 'log-probabilities of the tokens and of as many of the likeliest' },
  { name: 'top_logprobs', schema: integer, routes: chat, use: 'honoured', range: '0 … --max-logprobs', help: 'likeliest tokens shown at each position' },
  { name: 'logprob_token_ids', schema: list(tokenId, { minItems: 1, maxItems: logprobIdsMax }), routes: both, use: 'honoured',
    help: 'the tokens whose log-probabilities are shown in place of the likeliest; needs logprobs' },
  { name: 'prompt_logprobs', schema: integer, routes: both, use: 'honoured', range: '0 … --max-logprobs', help: 'the same for the tokens of the prompt; not with stream' },
  { name: 'stream', schema: boolean, routes: both, use: 'honoured', default: false, help: 'server-sent events, one or more a token' },
  { name: 'stream_interval', schema: { type: 'integer', minimum: 1 }, routes: both, use: 'honoured', default: 1,
    help: 'tokens of an event; the first of a choice comes at once; at least --stream-interval' },
  { name: 'stream_options', schema: streamOptions, routes: both, use: 'honoured', help: 'include_usage, continuous_usage_stats; only with stream' },
  { name: 'skip_special_tokens', schema: boolean, routes: both, use: 'honoured', default: true, help: 'leave special tokens out of the text' },
  { name: 'spaces_between_special_tokens', schema: boolean, routes: both, use: 'accepted', help: 'none are put there, nor by the fast tokenizers of vLLM' },
  { name: 'add_generation_prompt', schema: boolean, routes: messageRoutes, use: 'honoured', default: true, help: 'end the prompt with the head of an answer' },
  { name: 'continue_final_message', schema: boolean, routes: messageRoutes, use: 'honoured', default: false, help: 'go on with the last message; not with add_generation_prompt' },
  { name: 'chat_template', schema: string, routes: messageRoutes, use: 'honoured', help: 'a Jinja template in place of the own; needs --trust-request-chat-template' },
  { name: 'documents', schema: list(mapOf(string)), routes: chat, use: 'honoured', help: 'for the chat template' },
  { name: 'chat_template_kwargs', schema: anyObject, routes: messageRoutes, use: 'honoured', help: 'variables for the chat template' },
  { name: 'add_special_tokens', schema: boolean, routes: ['chat', 'completions', 'tokenize'], use: 'honoured', help: "the tokenizer's own frame around the prompt; unset: not in chat" },
  { name: 'truncate_prompt_tokens', schema: { type: 'integer', minimum: -1 }, routes: both, use: 'honoured', range: 'at most --max-model-len',
    help: 'most tokens of the prompt, which is cut to them; -1: as many as leave room for max_tokens' },
  { name: 'truncation_side', schema: oneWord('left', 'right'), routes: both, use: 'honoured', default: 'left', help: 'where such a prompt is cut' },
  { name: 'echo', schema: boolean, routes: completions, use: 'honoured', default: false, help: 'the prompt before the text' },
  { name: 'echo', schema: boolean, routes: chat, use: 'honoured', default: false,
    help: 'the last message before the text, where it is of the role that answers; without stream, prompt_logprobs too' },
  { name: 'priority', schema: integer, routes: both, use: 'honoured', default: 0, range: '53 bits, signed', help: 'lower runs first; needs --scheduling-policy priority' },
  { name: 'return_token_ids', schema: boolean, routes: both, use: 'honoured', default: false, help: 'add the ids of prompt and output' },
  { name: 'return_tokens_as_token_ids', schema: boolean, routes: both, use: 'honoured', default: false, help: 'tokens of log-probabilities as "token_id:5"; unset: as --return-tokens-as-token-ids says' },
  { name: 'return_prompt_text', schema: boolean, routes: chat, use: 'honoured', default: false, help: 'add the prompt as the template made it' },
  { name: 'request_id', schema: string, routes: both, use: 'honoured', help: 'becomes part of the id; X-Request-Id wins' },
  { name: 'cache_salt', schema: cacheSalt, routes: both, use: 'honoured',
    help: 'prefixes are shared only between requests of one salt' },
  { name: 'tools', schema: list(tool), routes: messageRoutes, use: 'honoured', range: `at most ${toolsMax}`,
    help: 'functions that the model may call; with strict its arguments always fit the schema of the function' },
  { name: 'tool_choice', schema: toolChoice, routes: chat, use: 'honoured',
    help: 'none, auto, required, a named function, or allowed_tools; unset: auto. Without tools only none' },
  { name: 'parallel_tool_calls', schema: boolean, routes: chat, use: 'honoured', default: true, help: 'false: one call at most' },
  { name: 'functions', schema: list(functionOf), routes: chat, use: 'honoured', help: 'older name of tools; answered as function_call' },
  { name: 'function_call', schema: anyOf(oneWord('none', 'auto'), object({ name: string })), routes: chat, use: 'honoured', help: 'older name of tool_choice' },
  { name: 'reasoning_effort', schema: oneWord('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'), routes: chat, use: 'honoured',
    help: 'how much to reason, for chat templates that read it; none: enable_thinking false' },
  { name: 'thinking_token_budget', schema: { type: 'integer', minimum: -1 }, routes: both, use: 'honoured', default: -1,
    help: 'most tokens of reasoning: then its end is forced; -1: no bound. Needs --reasoning-parser' },
  { name: 'include_reasoning', schema: boolean, routes: chat, use: 'honoured', default: true, help: 'false: reasoning is not shown' },
  { name: 'return_token_strs', schema: boolean, routes: tokenize, use: 'honoured', default: false, help: 'add the text of each token' },

  { name: 'user', schema: string, routes: both, use: 'accepted', help: 'for the client' },
  { name: 'metadata', schema: anyObject, routes: both, use: 'accepted', help: 'for the client' },
  { name: 'service_tier', schema: string, routes: both, use: 'accepted', help: 'there is one' },
  { name: 'safety_identifier', schema: string, routes: both, use: 'accepted', help: 'for the client' },
  { name: 'prompt_cache_key', schema: string, routes: both, use: 'accepted', help: 'prefixes are found without' },
  { name: 'prompt_cache_retention', schema: string, routes: both, use: 'accepted', help: 'prefixes stay while there is room' },
  { name: 'prompt_cache_options', schema: anyObject, routes: both, use: 'accepted', help: 'prefixes stay while there is room' },
  { name: 'prediction', schema: anyObject, routes: chat, use: 'accepted', help: 'a hint for speed, which changes no token' },
  { name: 'session_id', schema: string, routes: both, use: 'accepted', help: 'a hint for routers' },

  refused('store', both, 'nothing is stored', { neutral: [false] }),
  refused('best_of', completions, 'ask for n and choose', { neutral: [1] }),
  refused('audio', chat, later),
  refused('modalities', chat, later, { neutral: [['text']] }),
  refused('verbosity', chat, 'no model is told of it', { neutral: ['medium'] }),
  refused('web_search_options', chat, later),
  refused('moderation', chat, later),
  refused('media_io_kwargs', messageRoutes, 'only text models are served'),
  refused('mm_processor_kwargs', messageRoutes, 'only text models are served'),
  refused('prompt_embeds', completions, later),
  refused('return_token_offsets', both, 'only of routes that render', { neutral: [false] }),
  refused('kv_transfer_params', both, 'the KV cache stays in the server'),
  refused('ec_transfer_params', both, 'only text models are served'),
  refused('vllm_xargs', both, 'there are no plugins'),
  refused('watermarking', both, later, { neutral: [false] }),
  refused('routed_experts_prompt_start', both, later, { neutral: [0] }),
  refused('mm_payload', both, 'only text models are served', { neutral: ['tensors', 'none'] }),
  refused('return_mm_kwargs', both, 'only text models are served', { neutral: [false] }),
  // vllm-router writes each request anew, with these values where the client gave none.
  refused('no_stop_trim', both, 'ask for include_stop_str_in_output', { neutral: [false] }),
  refused('return_hidden_states', both, later, { neutral: [false] }),
  refused('separate_reasoning', chat, '--reasoning-parser separates it', { neutral: [true] }),
  refused('stream_reasoning', chat, 'it streams as it comes', { neutral: [true] }),
];

const bodyOf = (name: string, route: FieldRoute) =>
  requestBody(
    name,
    sharedFields.filter(({ routes }) => routes.includes(route)),
  );

export const chatBody = bodyOf('ChatCompletionRequest', 'chat');
export const completionBody = bodyOf('CompletionRequest', 'completions');
export const tokenizeBody = bodyOf('TokenizeRequest', 'tokenize');
export const detokenizeBody = bodyOf('DetokenizeRequest', 'detokenize');
