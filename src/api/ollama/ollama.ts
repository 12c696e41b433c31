/** POST /api/chat and /api/generate: Ollama's API, for one choice of a conversation or of a text. */

import type { ChatEvents } from '../answer-events.js';
import { PlainAnswer } from '../chat-reader.js';
import { runChat } from '../chat-run.js';
import { constraintsOf } from '../constraints.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import type { RequestBody } from '../fields.js';
import { flagOf } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { type JsonRequest, readGenerating } from '../request.js';
import { responseId, run, toRequest } from '../run.js';
import { parseTranslated } from '../translated.js';
import { chatShape, generateShape, type OllamaParts, replyLoaded, streamedOllama, wholeOllama } from './answer.js';
import { ollamaChatBody, ollamaGenerateBody } from './fields.js';
import { checkOllamaName } from './name.js';
import { ollamaChatAsChat, ollamaGenerateAsChat, ollamaNames } from './translate.js';

const read = (exchange: Exchange, context: Context, fields: RequestBody) => readGenerating(exchange, context, fields, checkOllamaName);

export async function handleOllamaChat(exchange: Exchange, context: Context): Promise<void> {
  const request = await read(exchange, context, ollamaChatBody);
  const messages = (request.body['messages'] ?? []) as readonly unknown[];
  if (messages.length === 0) return replyLoaded(request.serving.model, exchange, chatShape);
  await converse(exchange, context, request, ollamaChatAsChat(request.body), chatShape);
}

export async function handleOllamaGenerate(exchange: Exchange, context: Context): Promise<void> {
  const request = await read(exchange, context, ollamaGenerateBody);
  if (!request.body['prompt']) return replyLoaded(request.serving.model, exchange, generateShape);
  const chat = ollamaGenerateAsChat(request.body);
  await (flagOf(request.body, 'raw', false) ? goOn : converse)(exchange, context, request, chat, generateShape);
}

/** Answers a body in chat's terms. */
type Answering = (
  exchange: Exchange,
  context: Context,
  request: JsonRequest,
  body: JsonObject,
  shape: OllamaParts['shape'],
) => Promise<void>;

/** As a conversation. */
const converse: Answering = async (exchange, context, request, body, shape) => {
  const { serving, arrivalMs } = request;
  const chat = parseTranslated(body, request, ollamaNames);
  const id = responseId('chatcmpl', exchange, body);
  await runChat(exchange, context, { serving, chat, id, callIdPrefix: 'call_', arrivalMs }, ({ ids }) =>
    answerTo(exchange, request, ids.length, shape),
  );
};

/** Goes on with the prompt as it is: the same body, without the template. */
const goOn: Answering = async (exchange, context, request, body, shape) => {
  const { serving, arrivalMs } = request;
  const { generation } = parseTranslated(body, request, ollamaNames);
  const { truncation } = generation;
  const prompt = request.body['prompt'] as string;
  const constraints = await constraintsOf(serving, generation, { text: prompt, answerPrefix: null });
  const ids = await serving.preparer.encode({ kind: 'text', text: prompt, addSpecialTokens: true, truncation });
  if (exchange.aborted) return;
  const answer = answerTo(exchange, request, ids.length, shape);
  const id = responseId('cmpl', exchange, body);
  const generating = toRequest(id, ids, generation, constraints, serving.model.maxModelLen);
  run(context, serving, exchange, generating, { generation, arrivalMs }, new PlainAnswer(answer));
};

function answerTo(
  exchange: Exchange,
  { serving, body, arrivalMs }: JsonRequest,
  promptLen: number,
  shape: OllamaParts['shape'],
): ChatEvents {
  const answer = flagOf(body, 'stream', true) ? streamedOllama : wholeOllama;
  return answer({ exchange, model: serving.model, promptLen, arrivalMs, shape });
}
