/** The route table: a line a route. `server.ts` finds the line and guards it; the handlers are a file each. */
import { handleChat } from './chat-completions.js';
import { handleCompletion } from './completions.js';
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import { handleHealth, handleLoad, handleMetrics, handleVersion } from './health.js';
import { handleModel, handleModels } from './models.js';
import { handleDetokenize, handleTokenize } from './tokenize.js';

export interface Route {
  readonly method: 'GET' | 'POST';
  /** Ends in `/*`: what follows is the handler's third argument. */
  readonly path: string;
  /** open: to all, as supervisors and scrapers have no key. key: asks for an API key where one is set. */
  readonly access: 'open' | 'key';
  /** Counts as work that a shutdown waits for. */
  readonly inference: boolean;
  readonly handle: (exchange: Exchange, context: Context, rest: string) => void | Promise<void>;
}

// biome-ignore format: a line a route
export const routes: readonly Route[] = [
  { method: 'POST', path: '/v1/chat/completions', access: 'key', inference: true, handle: handleChat },
  { method: 'POST', path: '/v1/completions', access: 'key', inference: true, handle: handleCompletion },
  { method: 'GET', path: '/v1/models', access: 'key', inference: false, handle: handleModels },
  { method: 'GET', path: '/v1/models/*', access: 'key', inference: false, handle: handleModel },
  { method: 'POST', path: '/tokenize', access: 'key', inference: true, handle: handleTokenize },
  { method: 'POST', path: '/detokenize', access: 'key', inference: true, handle: handleDetokenize },
  { method: 'GET', path: '/health', access: 'open', inference: false, handle: handleHealth },
  { method: 'GET', path: '/ping', access: 'open', inference: false, handle: handleHealth },
  { method: 'POST', path: '/ping', access: 'open', inference: false, handle: handleHealth },
  { method: 'GET', path: '/version', access: 'open', inference: false, handle: handleVersion },
  { method: 'GET', path: '/load', access: 'open', inference: false, handle: handleLoad },
  { method: 'GET', path: '/metrics', access: 'open', inference: false, handle: handleMetrics },
];

export type RouteMatch =
  | { readonly found: 'route'; readonly route: Route; readonly rest: string }
  | { readonly found: 'other method'; readonly allowed: string }
  | { readonly found: 'nothing' };

export function findRoute(method: string, path: string): RouteMatch {
  const onPath = routes.filter((route) => matches(route.path, path));
  if (onPath.length === 0) return { found: 'nothing' };
  const route = onPath.find((candidate) => candidate.method === method);
  if (route === undefined) return { found: 'other method', allowed: onPath.map((candidate) => candidate.method).join(', ') };
  return { found: 'route', route, rest: route.path.endsWith('/*') ? path.slice(route.path.length - 1) : '' };
}

function matches(pattern: string, path: string): boolean {
  if (!pattern.endsWith('/*')) return pattern === path;
  return path.length >= pattern.length && path.startsWith(pattern.slice(0, -1));
}
