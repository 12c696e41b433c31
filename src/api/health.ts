/** GET /health, /ping, /version, /load: how the server is, for supervisors and routers. Open to all. */
import { type Context, healthState, servingNow } from './context.js';
import type { Exchange } from './exchange.js';

/** 200 while requests are taken; 503 with the reason while loading, draining, or after a fault. */
export function handleHealth(exchange: Exchange, context: Context): void {
  if (healthState(context) !== 'ready') servingNow(context); // throws the reason
  exchange.reply(200, null, '');
}

export function handleVersion(exchange: Exchange, context: Context): void {
  exchange.reply(200, 'application/json', JSON.stringify({ version: context.options.version }));
}

export function handleLoad(exchange: Exchange, context: Context): void {
  exchange.reply(200, 'application/json', JSON.stringify({ server_load: context.inFlight.total }));
}

export function handleMetrics(exchange: Exchange, context: Context): void {
  const { contentType, text } = context.metrics.exposition();
  exchange.reply(200, contentType, text);
}
