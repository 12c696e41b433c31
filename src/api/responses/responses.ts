/** /v1/responses: OpenAI's newer API, for one choice of a conversation, with what was answered kept in memory. */
import { randomBytes } from 'node:crypto';
import type { ChatMessage } from '../../chat/template.js';
import { LockstepError } from '../../errors.js';
import { runChat } from '../chat-run.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import { flagOf } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { readGenerating, readRequest } from '../request.js';
import { parseTranslated } from '../translated.js';
import { streamedResponse, wholeResponse } from './answer.js';
import { inputTokensBody, responsesBody } from './fields.js';
import type { Maker, Responses } from './keeper.js';
import type { ResponseHead } from './response-object.js';
import { type Item, itemsOf, messagesOf, responsesAsChat, responsesNames } from './translate.js';

const requestIdLenMax = 256;

export async function handleResponse(exchange: Exchange, context: Context): Promise<void> {
  const request = await readGenerating(exchange, context, responsesBody);
  const { serving, body, arrivalMs } = request;
  const { model } = serving;
  const { responses } = context;
  const history = await historyOf(body, responses);
  const chat = parseTranslated(responsesAsChat(body, history), request, responsesNames);
  const id = responseId(exchange, body);
  const isStream = flagOf(body, 'stream', false);
  const input = itemsOf(body['input']);
  let latest = '';
  const make = (to: Exchange, answer: typeof wholeResponse, maker: Maker | null) => {
    const keep = (json: string, output: readonly JsonObject[]) => {
      if (!flagOf(body, 'store', true)) return;
      const messages = [...history, ...messagesOf([...input, ...(output as readonly Item[])])];
      (maker ?? responses).keep({ id, json, input, messages });
    };
    const noteState = (json: string) => {
      latest = json;
      maker?.keep({ id, json, input, messages: null });
    };
    return runChat(to, context, { serving, chat, id, callIdPrefix: 'call_', arrivalMs }, ({ ids }) => {
      const createdAt = Math.floor(Date.now() / 1000);
      const head: ResponseHead = { id, createdAt, model: model.names[0]!, body, generation: chat.generation };
      return answer({ exchange: to, head, model, promptLen: ids.length, keep, ...(maker !== null && { noteState }) });
    });
  };
  if (!flagOf(body, 'background', false)) return make(exchange, isStream ? streamedResponse : wholeResponse, null);

  const maker = await beginInBackground(exchange, context, body, id);
  try {
    await make(maker.exchange, streamedResponse, maker);
  } catch (error) {
    maker.exchange.abort();
    maker.discard();
    throw error;
  }
  if (isStream) maker.follow(exchange);
  else exchange.reply(200, 'application/json', latest);
}

/** Rejects where the response would not be kept, or too many are made already. */
async function beginInBackground(exchange: Exchange, { responses, inFlight }: Context, body: JsonObject, id: string): Promise<Maker> {
  if (!flagOf(body, 'store', true)) {
    const message = 'background=true needs store=true: the response is to be retrieved.';
    throw new LockstepError('invalid_value', message, { param: 'background' });
  }
  const maker = await responses.begin(id, exchange);
  inFlight.add(maker.exchange);
  return maker;
}

async function historyOf(body: JsonObject, responses: Responses): Promise<readonly ChatMessage[]> {
  const previous = body['previous_response_id'] as string | null | undefined;
  return previous ? responses.messagesOf(previous) : [];
}

/** `resp_…`; what the client chose, as part of a path can be and with the prefix if it has none, or random. */
function responseId(exchange: Exchange, body: JsonObject): string {
  const given = exchange.header('x-request-id') ?? (body['request_id'] as string | null | undefined);
  if (!given) return `resp_${randomBytes(8).toString('hex')}`;
  const bounded = given.slice(0, requestIdLenMax).replace(/[^\w.-]/g, '-');
  return bounded.startsWith('resp_') ? bounded : `resp_${bounded}`;
}

export async function handleInputTokens(exchange: Exchange, context: Context): Promise<void> {
  const request = await readRequest(exchange, context, inputTokensBody);
  const chat = responsesAsChat(request.body, await historyOf(request.body, context.responses));
  const { conversation } = parseTranslated(chat, request, responsesNames);
  const promptTokens = await request.serving.preparer.encode({ kind: 'messages', ...conversation });
  const answer = { object: 'response.input_tokens', input_tokens: promptTokens.length };
  exchange.reply(200, 'application/json', JSON.stringify(answer));
}

/** What is asked of a response that is kept: GET, DELETE and POST …/cancel below /v1/responses/{id}. */
export function handleKept(exchange: Exchange, { responses, keepAlive }: Context, rest: string): void {
  responses.answer(exchange, rest);
  if (exchange.stream !== null) keepAlive.watch(exchange);
}
