/** GET /v1/models and /v1/models/{id}. */
import { createHash } from 'node:crypto';
import { LockstepError } from '../errors.js';
import { type Context, type Serving, servingNow } from './context.js';
import type { Exchange } from './exchange.js';

function modelObject(name: string, { model, since }: Serving): object {
  const permission = {
    id: `modelperm-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`,
    object: 'model_permission',
    created: since,
    allow_create_engine: false,
    allow_sampling: true,
    allow_logprobs: true,
    allow_search_indices: false,
    allow_view: true,
    allow_fine_tuning: false,
    organization: '*',
    group: null,
    is_blocking: false,
  };
  return {
    id: name,
    object: 'model',
    created: since,
    owned_by: 'lockstep',
    root: model.root,
    parent: null,
    max_model_len: model.maxModelLen,
    permission: [permission],
  };
}

export function handleModels(exchange: Exchange, context: Context): void {
  const serving = servingNow(context);
  const data = serving.model.names.map((name) => modelObject(name, serving));
  exchange.reply(200, 'application/json', JSON.stringify({ object: 'list', data }));
}

/** `id`: what follows /v1/models/ in the path; names may hold slashes, escaped or not. */
export function handleModel(exchange: Exchange, context: Context, id: string): void {
  const serving = servingNow(context);
  const name = unescaped(id);
  if (!serving.model.names.includes(name)) {
    throw new LockstepError('model_not_found', `The model \`${name}\` does not exist. Valid aliases: ${serving.model.names.join(', ')}.`, {
      param: 'model',
    });
  }
  exchange.reply(200, 'application/json', JSON.stringify(modelObject(name, serving)));
}

function unescaped(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}
