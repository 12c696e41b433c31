/** The rows of Anthropic's API. */
import { type Answer, route, withErrors } from '../route.js';
import { anyObject, integer, list, object, oneWord, string } from '../schema.js';
import { messagesErrors } from './errors.js';
import { countTokensBody, messagesBody } from './fields.js';
import { handleCountTokens, handleMessages } from './messages.js';

const open = { open: true } as const;
const messageAnswer: Answer = {
  name: 'Message',
  json: object(
    { id: string, type: oneWord('message'), role: oneWord('assistant'), content: list(anyObject), model: string, usage: anyObject },
    { stop_reason: string, stop_sequence: string },
    open,
  ),
  events: object({ type: string }, {}, open),
};
const countAnswer: Answer = { name: 'MessageTokens', json: object({ input_tokens: integer }) };

// biome-ignore format: a row a route
export const messagesRoutes = withErrors(messagesErrors, [
  route('POST', '/v1/messages', 'inference', { handle: handleMessages,
    summary: "Answers a conversation, in Anthropic's terms", body: messagesBody, answer: messageAnswer }),
  route('POST', '/v1/messages/count_tokens', 'inference', { handle: handleCountTokens,
    summary: 'The tokens of a conversation', body: countTokensBody, answer: countAnswer }),
]);
