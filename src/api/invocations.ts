/** POST /invocations, which SageMaker calls: the body says by its fields which route is meant. */
import { LockstepError } from '../errors.js';
import { handleChat } from './chat-completions.js';
import { handleCompletion } from './completions.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { handOn, readJson } from './json-body.js';
import { handleEmbeddings } from './pooling/embeddings.js';
import { handleRerank, handleScore } from './pooling/scores.js';
import type { Route } from './route.js';

/** The first field that is there decides. */
const routeByField: readonly (readonly [field: string, handle: Route['handle']])[] = [
  ['messages', handleChat],
  ['prompt', handleCompletion],
  ['input', handleEmbeddings],
  ['queries', handleScore],
  ['text_1', handleScore],
  ['query', handleRerank],
];

export async function handleInvocation(exchange: Exchange, context: Context): Promise<void> {
  const json = await readJson(exchange, context);
  const found = routeByField.find(([field]) => json.body[field] !== undefined && json.body[field] !== null);
  if (found === undefined) {
    const fields = routeByField.map(([field]) => field).join(', ');
    throw new LockstepError('invalid_body', `The body of /invocations must have one of ${fields}.`, { param: 'body' });
  }
  handOn(exchange, json);
  await found[1](exchange, context, '');
}
