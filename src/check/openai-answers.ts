/**
 * What OpenAI documents that its API answers: the schemas of openapi.json 2.3.0 (github.com/openai/openai-openapi, MIT), as far as programs
 * read them. Other properties may be there; a null may only where it says so.
 */
import { anyOf, integer, list, nothing, number, oneWord, type Schema, string } from '../api/schema.js';

const answer = (required: Readonly<Record<string, Schema>>, optional: Readonly<Record<string, Schema>> = {}): Schema => ({
  type: 'object',
  properties: { ...required, ...optional },
  required: Object.keys(required),
});
const orNull = (schema: Schema): Schema => anyOf(schema, nothing);

const likely = { token: string, logprob: number, bytes: orNull(list(integer)) };
const tokenLogprobs = list(answer({ ...likely, top_logprobs: list(answer(likely)) }));
const chatLogprobs = orNull(answer({ content: orNull(tokenLogprobs), refusal: orNull(tokenLogprobs) }));
const textLogprobs = orNull(
  answer(
    {},
    {
      text_offset: list(integer),
      token_logprobs: list(number),
      tokens: list(string),
      top_logprobs: list({ type: 'object', additionalProperties: number }),
    },
  ),
);

const usage = answer(
  { prompt_tokens: integer, completion_tokens: integer, total_tokens: integer },
  {
    completion_tokens_details: answer({}, { reasoning_tokens: integer, audio_tokens: integer }),
    prompt_tokens_details: answer({}, { cached_tokens: integer, audio_tokens: integer }),
  },
);

const functionCall = { name: string, arguments: string };
const serviceTier = orNull(oneWord('auto', 'default', 'flex', 'scale', 'priority', 'fast'));
const chatReason = oneWord('stop', 'length', 'tool_calls', 'content_filter', 'function_call');
const textReason = oneWord('stop', 'length', 'content_filter');

const message = answer(
  { role: oneWord('assistant'), content: orNull(string), refusal: orNull(string) },
  {
    tool_calls: list(answer({ id: string, type: oneWord('function', 'custom') }, { function: answer(functionCall) })),
    annotations: list(answer({ type: string })),
    function_call: answer(functionCall),
    audio: orNull(answer({ id: string, data: string })),
  },
);
const chatHead = { id: string, created: integer, model: string };
const chatTail = { service_tier: serviceTier, system_fingerprint: string };

export const chatAnswer = answer(
  {
    ...chatHead,
    object: oneWord('chat.completion'),
    choices: list(answer({ index: integer, finish_reason: chatReason, message, logprobs: chatLogprobs })),
  },
  { ...chatTail, usage },
);

const callPiece = answer({ index: integer }, { id: string, type: oneWord('function'), function: answer({}, functionCall) });
const delta = answer(
  {},
  {
    role: oneWord('developer', 'system', 'user', 'assistant', 'tool'),
    content: orNull(string),
    refusal: orNull(string),
    tool_calls: list(callPiece),
    function_call: answer({}, functionCall),
  },
);

export const chatChunk = answer(
  {
    ...chatHead,
    object: oneWord('chat.completion.chunk'),
    choices: list(answer({ index: integer, delta, finish_reason: orNull(chatReason) }, { logprobs: chatLogprobs })),
  },
  { ...chatTail, usage: orNull(usage) },
);

const textChoice = { index: integer, text: string, logprobs: textLogprobs };
const textHead = { ...chatHead, object: oneWord('text_completion') };

export const textAnswer = answer(
  { ...textHead, choices: list(answer({ ...textChoice, finish_reason: textReason })) },
  { system_fingerprint: string, usage },
);

/** Not documented apart from the whole answer; in all chunks but the last there is no reason yet. */
export const textChunk = answer(
  { ...textHead, choices: list(answer({ ...textChoice, finish_reason: orNull(textReason) })) },
  { system_fingerprint: string, usage: orNull(usage) },
);

export const embeddingAnswer = answer({
  object: oneWord('list'),
  model: string,
  data: list(answer({ index: integer, object: oneWord('embedding'), embedding: anyOf(list(number), string) })),
  usage: answer({ prompt_tokens: integer, total_tokens: integer }),
});

export const modelAnswer = answer({ id: string, created: integer, object: oneWord('model'), owned_by: string });
export const modelsAnswer = answer({ object: oneWord('list'), data: list(modelAnswer) });

export const errorAnswer = answer({ error: answer({ message: string, type: string, param: orNull(string), code: orNull(string) }) });
