/** What the routes answer, as schemas: for /openapi.json, and for the tests that hold real answers against them. */
import type { Answer } from './route.js';
import { anyObject, anyOf, anything, integer, list, mapOf, nullable, number, object, oneWord, string } from './schema.js';

const open = { open: true } as const;
const ids = list(integer);

const usage = object(
  { prompt_tokens: integer, total_tokens: integer },
  { completion_tokens: integer, prompt_tokens_details: anyObject, completion_tokens_details: anyObject },
);
const metrics = ['time_to_first_token_ms', 'generation_time_ms', 'queue_time_ms', 'mean_itl_ms', 'tokens_per_second'] as const;
const extras = { system_fingerprint: string, metrics: object({}, Object.fromEntries(metrics.map((name) => [name, number])), open) };
const ending = { finish_reason: string, stop_reason: anyOf(string, integer) };
const promptLogprobs = list(nullable(mapOf(object({ logprob: number, rank: integer, decoded_token: string }))));

const chatToken = { token: string, logprob: number, bytes: list(integer) };
const chatLogprobs = object({ content: list(object({ ...chatToken, top_logprobs: list(object(chatToken)) })) });
const message = object({ role: string }, { content: string }, open);
const envelope = { id: string, created: integer, model: string };

export const chatAnswer: Answer = {
  name: 'ChatCompletion',
  json: object(
    {
      ...envelope,
      object: oneWord('chat.completion'),
      choices: list(object({ index: integer, message }, { ...ending, logprobs: chatLogprobs, token_ids: ids }, open)),
      usage,
    },
    { ...extras, service_tier: string, prompt_logprobs: promptLogprobs, prompt_token_ids: ids, prompt_text: string },
    open,
  ),
  events: object(
    {
      ...envelope,
      object: oneWord('chat.completion.chunk'),
      choices: list(
        object(
          { index: integer, delta: object({}, { role: string, content: string }, open) },
          { ...ending, logprobs: chatLogprobs, token_ids: ids },
        ),
      ),
    },
    { ...extras, usage, prompt_token_ids: ids, prompt_text: string },
  ),
};

const completionLogprobs = object({
  text_offset: list(integer),
  token_logprobs: list(nullable(number)),
  tokens: list(string),
  top_logprobs: list(nullable(mapOf(number))),
});
const completionChoice = { index: integer, text: string };
const completionFacts = { ...ending, logprobs: completionLogprobs, token_ids: ids, prompt_token_ids: ids };

export const completionAnswer: Answer = {
  name: 'Completion',
  json: object(
    {
      ...envelope,
      object: oneWord('text_completion'),
      choices: list(object(completionChoice, { ...completionFacts, prompt_logprobs: promptLogprobs }, open)),
      usage,
    },
    { ...extras, service_tier: string },
    open,
  ),
  events: object(
    { ...envelope, object: oneWord('text_completion'), choices: list(object(completionChoice, completionFacts)) },
    { ...extras, usage },
  ),
};

const model = object({ id: string, object: oneWord('model'), created: integer, owned_by: string }, {}, open);
export const modelAnswer: Answer = { name: 'Model', json: model };
export const modelsAnswer: Answer = { name: 'Models', json: object({ object: oneWord('list'), data: list(model) }) };

export const tokenizeAnswer: Answer = {
  name: 'Tokens',
  json: object({ count: integer, max_model_len: integer, tokens: ids }, { token_strs: list(string) }),
};
export const detokenizeAnswer: Answer = { name: 'Text', json: object({ prompt: string }) };

const rendered = object({ request_id: string, token_ids: ids, sampling_params: anyObject, model: string }, {}, open);
export const renderedAnswer: Answer = { name: 'Rendered', json: rendered };
export const renderedListAnswer: Answer = { name: 'RenderedList', json: list(rendered) };
export const invocationAnswer: Answer = { name: 'Invocation', json: anyObject, events: anyObject };

export const emptyAnswer: Answer = { name: 'Nothing', media: '' };
export const versionAnswer: Answer = { name: 'Version', json: object({ version: string }) };
export const loadAnswer: Answer = { name: 'Load', json: object({ server_load: integer }) };
export const metricsAnswer: Answer = { name: 'Metrics', media: 'text/plain' };
export const pageAnswer: Answer = { name: 'Page', media: 'text/html' };
export const docsAnswer: Answer = { name: 'Docs', media: 'text/html' };
export const openApiAnswer: Answer = { name: 'OpenAPI', json: object({ openapi: string, info: anything, paths: anything }, {}, open) };
