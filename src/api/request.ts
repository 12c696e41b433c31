/** What every route with a JSON body does first: is the model there, is there room, is the body sound, are its fields known. */
import { LockstepError } from '../errors.js';
import { type Context, checkModelName, checkQueue, type Serving, servingNow, warnOfUnknown } from './context.js';
import type { Exchange } from './exchange.js';
import { checkFields, type RequestBody } from './fields.js';
import { readJson } from './json-body.js';
import type { JsonObject } from './json-object.js';

export interface JsonRequest {
  readonly serving: Serving;
  readonly body: JsonObject;
  /** The body as it came: `exactInteger` reads it. */
  readonly text: string;
  readonly arrivalMs: number;
}

/** Reads the request of a route that generates. Throws before the body is read where the model is not there or does not, or the queue is full. */
export async function readGenerating(
  exchange: Exchange,
  context: Context,
  fields: RequestBody,
  checkName = checkModelName,
): Promise<JsonRequest> {
  const { model } = servingNow(context);
  checkQueue(model);
  if (model.pooler !== null) throw generatesNothing;
  return readRequest(exchange, context, fields, checkName);
}

const generatesNothing = new LockstepError('invalid_value', 'The model does not generate text: it is served for embeddings or scores.');

export async function readRequest(
  exchange: Exchange,
  context: Context,
  fields: RequestBody,
  checkName = checkModelName,
): Promise<JsonRequest> {
  const arrivalMs = performance.now();
  const serving = servingNow(context);
  const { body, text } = await readJson(exchange, context);
  warnOfUnknown(exchange, checkFields(body, fields, context.options.unknownFields));
  checkName(body, serving.model);
  // Ollama's routes stream lines of JSON, in which there is no comment.
  if (body['stream'] === true && exchange.path.includes('/v1/')) context.keepAlive.watch(exchange);
  return { serving, body, text, arrivalMs };
}
