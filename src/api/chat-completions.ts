/** POST /v1/chat/completions: parse the body, have the conversation run, format the answer. */
import type { ChatMessage } from '../chat/template.js';
import { streamedChat, wholeChatAnswer } from './chat-answer.js';
import { parseChat } from './chat-request.js';
import { runChat } from './chat-run.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { parseStreamOptions } from './generation.js';
import { readGenerating } from './request.js';
import { chatBody } from './request-fields.js';
import { responseId } from './run.js';

export async function handleChat(exchange: Exchange, context: Context): Promise<void> {
  const { serving, body, text, arrivalMs } = await readGenerating(exchange, context, chatBody);
  const { model, fingerprint } = serving;
  const streaming = parseStreamOptions(body, context.options.forceIncludeUsage);
  const chat = parseChat(body, text, model);
  const { conversation, returnPromptText } = chat;
  const id = responseId('chatcmpl', exchange, body);
  const role = conversation.options.addGenerationPrompt ? context.options.responseRole : conversation.messages.at(-1)!.role;
  await runChat(exchange, context, { serving, chat, id, callIdPrefix: 'chatcmpl-tool-', arrivalMs }, (prompt) => {
    const echo = chat.echo ? echoed(conversation.messages.at(-1)!, role) : '';
    const envelope = { id, created: Math.floor(Date.now() / 1000), model: model.names[0]!, fingerprint, role, echo };
    const answer = streaming.stream ? streamedChat : wholeChatAnswer;
    const promptText = returnPromptText ? prompt.text : null;
    return answer({ exchange, context, serving, chat, streaming, promptTokens: prompt.ids, promptText, envelope });
  });
}

/** What the answer goes on from: the last message, where it is of the role that answers. */
function echoed({ role, content }: ChatMessage, answering: string): string {
  if (role !== answering || content === null || content === undefined) return '';
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('\n');
}
