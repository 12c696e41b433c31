/** POST /tokenize and /detokenize: text or messages -> ids -> text, as the model sees them. */
import { parseConversation } from './chat-request.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { wrongType } from './fields.js';
import { flagOf } from './generation.js';
import { checkVocabulary } from './prepare.js';
import { readRequest } from './request.js';
import { detokenizeBody, tokenizeBody } from './request-fields.js';

export async function handleTokenize(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body, text } = await readRequest(exchange, context, tokenizeBody);
  const { model } = serving;
  const { prompt } = body;
  const isChat = body['messages'] !== undefined && body['messages'] !== null;
  if (!isChat && typeof prompt !== 'string') throw wrongType('prompt', 'a string, or messages must be given');
  const tokens = isChat
    ? await serving.preparer.encode({ kind: 'messages', ...parseConversation(body, model, text) })
    : await serving.preparer.encode({ kind: 'text', text: prompt as string, addSpecialTokens: flagOf(body, 'add_special_tokens', true) });
  const ids = Array.from(tokens);
  const token_strs = flagOf(body, 'return_token_strs', false) ? ids.map((id) => model.tokenizer.tokenText(id)) : null;
  exchange.reply(200, 'application/json', JSON.stringify({ count: ids.length, max_model_len: model.maxModelLen, tokens: ids, token_strs }));
}

export async function handleDetokenize(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body } = await readRequest(exchange, context, detokenizeBody);
  const { model } = serving;
  const tokens = body['tokens'] as readonly number[];
  checkVocabulary(tokens, model.vocabSize);
  exchange.reply(200, 'application/json', JSON.stringify({ prompt: model.tokenizer.decode(tokens, { skipSpecialTokens: false }) }));
}
