/** POST /v1/embeddings and /pooling: a vector for each input. */
import type { Pooler } from '../../engine/pooler.js';
import { LockstepError } from '../../errors.js';
import type { Context } from '../context.js';
import type { Exchange } from '../exchange.js';
import type { Present } from '../generation.js';
import type { JsonObject } from '../json-object.js';
import { responseId } from '../run.js';
import { embeddingBody, poolingBody } from './fields.js';
import { InputReader } from './inputs.js';
import { activationOf, envelope, finishAll, type PoolingRequest, pool, readPooling, tokensOf, usageOf } from './run.js';

export async function handleEmbeddings(exchange: Exchange, context: Context): Promise<void> {
  const request = await readPooling(exchange, context, embeddingBody, { name: 'Embeddings API', task: 'embed' });
  await answer(exchange, context, request, 'embd', (index, embedding) => ({ index, object: 'embedding', embedding }));
}

export async function handlePooling(exchange: Exchange, context: Context): Promise<void> {
  const request = await readPooling(exchange, context, poolingBody, { name: 'Pooling API' });
  const { body, pooler } = request;
  const task = body['task'] as Present<string>;
  if (task !== null && task !== undefined && task !== pooler.spec.task)
    throw new LockstepError('invalid_value', `Unsupported task: '${task}'. Supported tasks: ['${pooler.spec.task}']`, { param: 'task' });
  await answer(exchange, context, request, 'pool', (index, data) => ({ index, object: 'pooling', data }));
}

async function answer(
  exchange: Exchange,
  context: Context,
  request: PoolingRequest,
  prefix: string,
  entry: (index: number, vector: string | number[]) => object,
): Promise<void> {
  const { serving, body, pooler } = request;
  const options = { dimensions: parseDimensions(body, pooler, serving.model.names[0]!), activation: activationOf(body) };
  const prompts = await new InputReader(serving, pooler, exchange, body).read(body);
  const pooled = await pool(exchange, context, request, prompts);
  const encode = body['encoding_format'] === 'base64' ? base64 : (vector: Float32Array) => Array.from(vector);
  const data = (await finishAll(pooler, pooled, prompts, options)).map((vector, i) => entry(i, encode(vector)));
  const whole = {
    ...envelope(serving, responseId(prefix, exchange, body)),
    data,
    usage: usageOf(tokensOf(prompts), pooled.cachedTokens, context),
  };
  exchange.reply(200, 'application/json', JSON.stringify(whole));
}

/** As OpenAI's clients decode it. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(4 * vector.length);
  for (let i = 0; i < vector.length; i++) bytes.writeFloatLE(vector[i]!, 4 * i);
  return bytes.toString('base64');
}

function parseDimensions(body: JsonObject, { spec }: Pooler, name: string): number | null {
  const asked = body['dimensions'] as Present<number>;
  if (asked === null || asked === undefined) return null;
  const refuse = (message: string) => new LockstepError('invalid_value', message, { param: 'dimensions' });
  if (spec.dimensions === null) {
    throw refuse(`Model "${name}" does not support matryoshka representation, changing output dimensions will lead to poor results.`);
  }
  if (spec.dimensions !== 'any' && !spec.dimensions.includes(asked)) {
    const listed = `[${spec.dimensions.join(', ')}]`;
    throw refuse(`Model "${name}" only supports ${listed} matryoshka dimensions, use other output dimensions will lead to poor results.`);
  }
  if (asked > spec.width) throw refuse(`dimensions must be at most ${spec.width}, got ${asked}.`);
  return asked;
}
