/** /v1/responses: OpenAI's newer API, for one choice of a conversation, with what was answered kept in memory. */
import { randomBytes } from 'node:crypto';
import type { ChatMessage } from '../../chat/template.js';
import { LockstepError } from '../../errors.js';
import { runChat } from '../chat-run.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import { flagOf } from '../generation.js';
import type { JsonObject } from '../json-body.js';
import { readGenerating, readRequest } from '../request.js';
import { parseTranslated } from '../translated.js';
import { streamedResponse, wholeResponse } from './answer.js';
import { inputTokensBody, responsesBody } from './fields.js';
import type { ResponseHead } from './response-object.js';
import type { ResponseStore } from './store.js';
import { type Item, itemsOf, messagesOf, responsesAsChat, responsesNames } from './translate.js';

const requestIdLenMax = 256;

export async function handleResponse(exchange: Exchange, context: Context): Promise<void> {
  const request = await readGenerating(exchange, context, responsesBody);
  const { serving, body, arrivalMs } = request;
  const { model } = serving;
  const store = context.responses;
  const history = historyOf(body, store);
  const chat = parseTranslated(responsesAsChat(body, history), request, responsesNames);
  const id = responseId(exchange, body);
  await runChat(exchange, context, { serving, chat, id, callIdPrefix: 'call_', arrivalMs }, ({ ids }) => {
    const createdAt = Math.floor(Date.now() / 1000);
    const head: ResponseHead = { id, createdAt, model: model.names[0]!, body, generation: chat.generation };
    const keep = (json: string, output: readonly JsonObject[]) => {
      if (!flagOf(body, 'store', true)) return;
      const input = itemsOf(body['input']);
      store.add({ id, json, input, messages: [...history, ...messagesOf([...input, ...(output as readonly Item[])])] });
    };
    const answer = flagOf(body, 'stream', false) ? streamedResponse : wholeResponse;
    return answer({ exchange, head, model, promptLen: ids.length, keep });
  });
}

function historyOf(body: JsonObject, store: ResponseStore): readonly ChatMessage[] {
  const previous = body['previous_response_id'] as string | null | undefined;
  return previous ? store.get(previous).messages : [];
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
  const chat = responsesAsChat(request.body, historyOf(request.body, context.responses));
  const { conversation } = parseTranslated(chat, request, responsesNames);
  const promptTokens = await request.serving.preparer.encode({ kind: 'messages', ...conversation });
  const answer = { object: 'response.input_tokens', input_tokens: promptTokens.length };
  exchange.reply(200, 'application/json', JSON.stringify(answer));
}

/** GET /v1/responses/{id} and /v1/responses/{id}/input_items. */
export function handleStored(exchange: Exchange, context: Context, rest: string): void {
  const [id, what] = rest.split('/', 2) as [string, string | undefined];
  const { json, input } = context.responses.get(id);
  if (what === undefined) {
    const stream = new URLSearchParams(exchange.query).get('stream');
    if (stream === 'true') throw new LockstepError('invalid_value', 'A stored response is not streamed.', { param: 'stream' });
    exchange.reply(200, 'application/json', json);
  } else if (what === 'input_items') {
    exchange.reply(200, 'application/json', JSON.stringify(listOf(id, input, new URLSearchParams(exchange.query))));
  } else {
    throw noSuchPath(exchange);
  }
}

/** The items that were given, the newest first unless `order` is asc, a page at a time. */
function listOf(id: string, input: readonly Item[], query: URLSearchParams): object {
  const items = input.map((item, i) => ({ id: `item_${id.slice('resp_'.length)}_${i}`, type: 'message', ...item }));
  if (query.get('order') !== 'asc') items.reverse();
  const limit = Math.min(Math.max(Number(query.get('limit') ?? itemsDefault) || itemsDefault, 1), itemsMax);
  const start = items.findIndex((item) => item.id === query.get('after')) + 1;
  const data = items.slice(start, start + limit);
  return { object: 'list', data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: start + limit < items.length };
}
const itemsDefault = 20;
const itemsMax = 100;

/** POST /v1/responses/{id}/cancel: there is nothing to cancel, since what is stored is whole. */
export function handleCancel(exchange: Exchange, context: Context, rest: string): void {
  const [id, what] = rest.split('/', 2) as [string, string | undefined];
  if (what !== 'cancel') throw noSuchPath(exchange);
  context.responses.get(id);
  throw new LockstepError('invalid_value', 'Cannot cancel a synchronous response.', { param: 'response_id' });
}

export function handleDelete(exchange: Exchange, context: Context, id: string): void {
  context.responses.remove(id);
  exchange.reply(200, 'application/json', JSON.stringify({ id, object: 'response', deleted: true }));
}

const noSuchPath = ({ method, path }: Exchange) => new LockstepError('not_found', `Invalid URL (${method} ${path})`);
