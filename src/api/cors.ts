/** The origins of browsers that may call (https://fetch.spec.whatwg.org/#http-cors-protocol). */
import type { Exchange } from './exchange.js';

export interface CorsOptions {
  readonly allowedOrigins: readonly string[];
  readonly allowedMethods: readonly string[];
  readonly allowedHeaders: readonly string[];
  readonly allowCredentials: boolean;
}

export const corsDefault: CorsOptions = { allowedOrigins: ['*'], allowedMethods: ['*'], allowedHeaders: ['*'], allowCredentials: false };

const everyMethod = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT';

/** Sets the CORS headers of the reply. True: it was a preflight, and is answered. */
export function answerCors(exchange: Exchange, options: CorsOptions): boolean {
  const origin = exchange.header('origin');
  if (origin === undefined) return false;
  const anyOrigin = options.allowedOrigins.includes('*');
  const allowed = anyOrigin || options.allowedOrigins.includes(origin);
  if (allowed) {
    const mirror = !anyOrigin || options.allowCredentials;
    exchange.setHeader('access-control-allow-origin', mirror ? origin : '*');
    if (mirror) exchange.setHeader('vary', 'Origin');
    if (options.allowCredentials) exchange.setHeader('access-control-allow-credentials', 'true');
  }
  const wantedMethod = exchange.header('access-control-request-method');
  if (exchange.method !== 'OPTIONS' || wantedMethod === undefined) return false;
  const wantedHeaders = exchange.header('access-control-request-headers') ?? '';
  const refused = [
    ...(allowed ? [] : ['origin']),
    ...(options.allowedMethods.includes('*') || options.allowedMethods.includes(wantedMethod) ? [] : ['method']),
    ...(allHeadersAllowed(wantedHeaders, options.allowedHeaders) ? [] : ['headers']),
  ];
  exchange.setHeader(
    'access-control-allow-methods',
    options.allowedMethods.includes('*') ? everyMethod : options.allowedMethods.join(', '),
  );
  if (wantedHeaders !== '') exchange.setHeader('access-control-allow-headers', wantedHeaders);
  exchange.setHeader('access-control-max-age', '600');
  if (refused.length === 0) exchange.reply(200, 'text/plain; charset=utf-8', 'OK');
  else exchange.reply(400, 'text/plain; charset=utf-8', `Disallowed CORS ${refused.join(', ')}`);
  return true;
}

function allHeadersAllowed(wanted: string, allowed: readonly string[]): boolean {
  if (allowed.includes('*')) return true;
  const known = new Set(allowed.map((name) => name.toLowerCase()));
  return wanted.split(',').every((name) => name.trim() === '' || known.has(name.trim().toLowerCase()));
}
