/** POST /v1/messages and /v1/messages/count_tokens: Anthropic's API, for one choice of a conversation. */
import { runChat } from '../chat-run.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import { flagOf } from '../generation.js';
import { type JsonRequest, readGenerating, readRequest } from '../request.js';
import { responseId } from '../run.js';
import { parseTranslated } from '../translated.js';
import { streamedMessage, wholeMessage } from './answer.js';
import { countTokensBody, messagesBody } from './fields.js';
import { messagesAsChat, messagesNames } from './translate.js';

const asChat = ({ body, serving }: JsonRequest) => messagesAsChat(body, serving.model.markup.reasoningFormat !== null);

export async function handleMessages(exchange: Exchange, context: Context): Promise<void> {
  const request = await readGenerating(exchange, context, messagesBody);
  const { serving, body, arrivalMs } = request;
  const chat = parseTranslated(asChat(request), request, messagesNames);
  const id = responseId('chatcmpl', exchange, body);
  await runChat(exchange, context, { serving, chat, id, callIdPrefix: 'toolu_', arrivalMs }, ({ ids }) => {
    const answer = flagOf(body, 'stream', false) ? streamedMessage : wholeMessage;
    const withCached = context.options.promptTokensDetails;
    return answer({ exchange, id, model: serving.model.names[0]!, inputTokens: ids.length, withCached });
  });
}

export async function handleCountTokens(exchange: Exchange, context: Context): Promise<void> {
  const request = await readRequest(exchange, context, countTokensBody);
  const { conversation } = parseTranslated(asChat(request), request, messagesNames);
  const promptTokens = await request.serving.preparer.encode({ kind: 'messages', ...conversation });
  exchange.reply(200, 'application/json', JSON.stringify({ input_tokens: promptTokens.length }));
}
