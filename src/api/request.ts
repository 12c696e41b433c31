/** What every route with a JSON body does first: is the model there, is there room, is the body sound, are its fields known. */
import { type Context, checkModelName, checkQueue, type Serving, servingNow, warnOfUnknown } from './context.js';
import type { Exchange } from './exchange.js';
import { checkFields, type RequestBody } from './fields.js';
import { type JsonObject, readJson } from './json-body.js';

export interface JsonRequest {
  readonly serving: Serving;
  readonly body: JsonObject;
  /** The body as it came: `exactInteger` reads it. */
  readonly text: string;
  readonly arrivalMs: number;
}

/** Reads the request of a route that generates. Throws where the model is not there or the queue is full, before the body is read. */
export async function readGenerating(exchange: Exchange, context: Context, fields: RequestBody): Promise<JsonRequest> {
  checkQueue(servingNow(context).model);
  return readRequest(exchange, context, fields);
}

export async function readRequest(exchange: Exchange, context: Context, fields: RequestBody): Promise<JsonRequest> {
  const arrivalMs = performance.now();
  const serving = servingNow(context);
  const { body, text } = await readJson(exchange, context);
  warnOfUnknown(exchange, checkFields(body, fields, context.options.unknownFields));
  checkModelName(body, serving.model);
  return { serving, body, text, arrivalMs };
}
