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
import { BackgroundResponse } from './background.js';
import { inputTokensBody, responsesBody } from './fields.js';
import type { ResponseHead } from './response-object.js';
import type { ResponseStore, StoredResponse } from './store.js';
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
  const isStream = flagOf(body, 'stream', false);
  const make = (to: Exchange, answer: typeof wholeResponse, background: BackgroundResponse | null) => {
    const stored = { id, input: itemsOf(body['input']), background };
    const keep = (json: string, output: readonly JsonObject[]) => {
      if (!flagOf(body, 'store', true)) return;
      store.add({ ...stored, json, messages: [...history, ...messagesOf([...stored.input, ...(output as readonly Item[])])] });
    };
    const noteState = (json: string) => store.add({ ...stored, json, messages: null });
    return runChat(to, context, { serving, chat, id, callIdPrefix: 'call_', arrivalMs }, ({ ids }) => {
      const createdAt = Math.floor(Date.now() / 1000);
      const head: ResponseHead = { id, createdAt, model: model.names[0]!, body, generation: chat.generation };
      return answer({ exchange: to, head, model, promptLen: ids.length, keep, ...(background !== null && { noteState }) });
    });
  };
  if (!flagOf(body, 'background', false)) return make(exchange, isStream ? streamedResponse : wholeResponse, null);

  const background = beginInBackground(exchange, context, body);
  try {
    await make(background.exchange, streamedResponse, background);
  } catch (error) {
    background.exchange.abort();
    store.discard(id);
    throw error;
  }
  if (isStream) background.follow(exchange, -1);
  else exchange.reply(200, 'application/json', store.get(id).json);
}

/** Throws where the response would not be kept, or too many are made already. */
function beginInBackground(exchange: Exchange, { responses, inFlight }: Context, body: JsonObject): BackgroundResponse {
  if (!flagOf(body, 'store', true)) {
    const message = 'background=true needs store=true: the response is to be retrieved.';
    throw new LockstepError('invalid_value', message, { param: 'background' });
  }
  const background = new BackgroundResponse(exchange);
  responses.begin(background);
  inFlight.add(background.exchange);
  return background;
}

function historyOf(body: JsonObject, store: ResponseStore): readonly ChatMessage[] {
  const previous = body['previous_response_id'] as string | null | undefined;
  if (!previous) return [];
  const { messages } = store.get(previous);
  if (messages !== null) return messages;
  throw new LockstepError('invalid_value', `Response with id '${previous}' has no answer.`, { param: 'previous_response_id' });
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
  const stored = context.responses.get(id);
  const query = new URLSearchParams(exchange.query);
  const stream = query.get('stream') ?? 'false';
  if (stream !== 'true' && stream !== 'false')
    throw new LockstepError('invalid_value', 'stream must be true or false.', { param: 'stream' });
  const after = query.get('starting_after') ?? '-1';
  if (!/^(-1|\d{1,15})$/.test(after)) {
    throw new LockstepError('invalid_value', 'starting_after must be the sequence_number of an event.', { param: 'starting_after' });
  }
  if (what === undefined && stream === 'true') {
    followStored(exchange, context, stored, Number(after));
  } else if (what === undefined) {
    exchange.reply(200, 'application/json', stored.json);
  } else if (what === 'input_items') {
    exchange.reply(200, 'application/json', JSON.stringify(listOf(id, stored.input, query)));
  } else {
    throw noSuchPath(exchange);
  }
}

/** The events of a response that is made in the background, or was, behind that of the number `after`. */
function followStored(exchange: Exchange, { keepAlive }: Context, { background }: StoredResponse, after: number): void {
  if (background === null) {
    throw new LockstepError('invalid_value', 'Only a response made in the background is streamed.', { param: 'stream' });
  }
  keepAlive.watch(exchange);
  background.follow(exchange, after);
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

/** POST /v1/responses/{id}/cancel. One that has ended stays as it is. */
export function handleCancel(exchange: Exchange, context: Context, rest: string): void {
  const [id, what] = rest.split('/', 2) as [string, string | undefined];
  if (what !== 'cancel') throw noSuchPath(exchange);
  const stored = context.responses.get(id);
  const { background, json } = stored;
  if (background === null) throw new LockstepError('invalid_value', 'Cannot cancel a synchronous response.', { param: 'response_id' });
  if (!background.exchange.over) {
    context.responses.add({ ...stored, json: JSON.stringify({ ...(JSON.parse(json) as JsonObject), status: 'cancelled' }) });
    background.exchange.abort();
  }
  exchange.reply(200, 'application/json', context.responses.get(id).json);
}

export function handleDelete(exchange: Exchange, context: Context, id: string): void {
  context.responses.get(id).background?.exchange.abort();
  context.responses.discard(id);
  exchange.reply(200, 'application/json', JSON.stringify({ id, object: 'response', deleted: true }));
}

const noSuchPath = ({ method, path }: Exchange) => new LockstepError('not_found', `Invalid URL (${method} ${path})`);
