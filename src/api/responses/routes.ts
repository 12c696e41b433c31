/** The rows of /v1/responses. */
import { type Answer, type Route, route } from '../route.js';
import { anyObject, boolean, integer, list, object, oneWord, string } from '../schema.js';
import { inputTokensBody, responsesBody } from './fields.js';
import { handleInputTokens, handleKept, handleResponse } from './responses.js';

const open = { open: true } as const;
const response = object(
  { id: string, object: oneWord('response'), created_at: integer, model: string, output: list(anyObject), status: string },
  { usage: anyObject },
  open,
);
const responseAnswer: Answer = { name: 'Response', json: response, events: object({ type: string, sequence_number: integer }, {}, open) };
const storedQuery = { stream: boolean, starting_after: { ...integer, minimum: -1 } };
const storedAnswer: Answer = { name: 'Response', json: response };
const tokensAnswer: Answer = {
  name: 'InputTokens',
  json: object({ object: oneWord('response.input_tokens'), input_tokens: integer }),
};
const deletedAnswer: Answer = { name: 'DeletedResponse', json: object({ id: string, object: oneWord('response'), deleted: boolean }) };

// biome-ignore format: a row a route
export const responsesRoutes: readonly Route[] = [
  route('POST', '/v1/responses', 'inference', { handle: handleResponse,
    summary: 'Answers a conversation, and keeps the answer', body: responsesBody, answer: responseAnswer }),
  route('POST', '/v1/responses/input_tokens', 'inference', { handle: handleInputTokens,
    summary: 'The tokens of a conversation', body: inputTokensBody, answer: tokensAnswer }),
  route('GET', '/v1/responses/*', 'key', { handle: handleKept,
    summary: 'A response that was kept, or the events of one that is made in the background; below it, /input_items', query: storedQuery, answer: responseAnswer }),
  route('DELETE', '/v1/responses/*', 'key', { handle: handleKept,
    summary: 'Forgets a response', answer: deletedAnswer }),
  route('POST', '/v1/responses/*', 'key', { handle: handleKept,
    summary: 'Cancels a response that is made in the background: /cancel behind the id', answer: storedAnswer }),
];
