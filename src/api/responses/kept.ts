/** What is asked of a response that is kept, on the thread that keeps them: to be shown, followed, cancelled, forgotten. */
import { LockstepError } from '../../errors.js';
import type { Exchange } from '../exchange.js';
import type { JsonObject } from '../json-object.js';
import type { ResponseStore, StoredResponse } from './store.js';
import type { Item } from './translate.js';

const itemsDefault = 20;
const itemsMax = 100;

/** `rest`: of the path, behind /v1/responses/. Throws what it is refused with. */
export function answerKept(exchange: Exchange, store: ResponseStore, rest: string): void {
  if (exchange.method === 'GET') retrieve(exchange, store, rest);
  else if (exchange.method === 'DELETE') remove(exchange, store, rest);
  else cancel(exchange, store, rest);
}

/** GET /v1/responses/{id} and /v1/responses/{id}/input_items. */
function retrieve(exchange: Exchange, store: ResponseStore, rest: string): void {
  const [id, what] = rest.split('/', 2) as [string, string | undefined];
  const stored = store.get(id);
  const query = new URLSearchParams(exchange.query);
  const stream = query.get('stream') ?? 'false';
  if (stream !== 'true' && stream !== 'false')
    throw new LockstepError('invalid_value', 'stream must be true or false.', { param: 'stream' });
  const after = query.get('starting_after') ?? '-1';
  if (!/^(-1|\d{1,15})$/.test(after)) {
    throw new LockstepError('invalid_value', 'starting_after must be the sequence_number of an event.', { param: 'starting_after' });
  }
  if (what === undefined && stream === 'true') {
    followStored(exchange, stored, Number(after));
  } else if (what === undefined) {
    exchange.reply(200, 'application/json', stored.json);
  } else if (what === 'input_items') {
    exchange.reply(200, 'application/json', JSON.stringify(listOf(id, stored.input, query)));
  } else {
    throw noSuchPath(exchange);
  }
}

/** The events of a response that is made in the background, or was, behind that of the number `after`. */
function followStored(exchange: Exchange, { background }: StoredResponse, after: number): void {
  if (background === null) {
    throw new LockstepError('invalid_value', 'Only a response made in the background is streamed.', { param: 'stream' });
  }
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
/** POST /v1/responses/{id}/cancel. One that has ended stays as it is. */
function cancel(exchange: Exchange, store: ResponseStore, rest: string): void {
  const [id, what] = rest.split('/', 2) as [string, string | undefined];
  if (what !== 'cancel') throw noSuchPath(exchange);
  const stored = store.get(id);
  const { background, json } = stored;
  if (background === null) throw new LockstepError('invalid_value', 'Cannot cancel a synchronous response.', { param: 'response_id' });
  if (!background.isOver) {
    store.add({ ...stored, json: JSON.stringify({ ...(JSON.parse(json) as JsonObject), status: 'cancelled' }) });
    background.abort();
  }
  exchange.reply(200, 'application/json', store.get(id).json);
}

function remove(exchange: Exchange, store: ResponseStore, id: string): void {
  store.get(id).background?.abort();
  store.discard(id);
  exchange.reply(200, 'application/json', JSON.stringify({ id, object: 'response', deleted: true }));
}

const noSuchPath = ({ method, path }: Exchange) => new LockstepError('not_found', `Invalid URL (${method} ${path})`);
