/**
 * The port alone. It takes a few modules where what is behind it takes hundreds, and so listens and answers 503 while those are read; a supervisor
 * or a router finds somebody there from the first moment.
 */
import { type LockstepError, startError } from '../errors.js';
import type { Logger } from '../log.js';
import { notReady } from './context.js';
import type { ExchangeHandler, Listener, ListenOptions } from './exchange.js';
import { listenUws, loadUws } from './exchange-uws.js';
import { failExchange } from './fail-exchange.js';

export interface PortOptions extends ListenOptions {
  readonly backend: 'auto' | 'uws' | 'node';
  readonly logger: Logger;
}

export interface Port {
  readonly listener: Listener;
  /** Which implementation of the exchange listens. */
  readonly backend: 'uws' | 'node';
  /** From now on `handler` has the requests; before they are answered 503. */
  serve(handler: ExchangeHandler): void;
}

/** Throws a `start` error where the port cannot be had. */
export async function openPort(options: PortOptions): Promise<Port> {
  let current: ExchangeHandler = (exchange) => failExchange(exchange, notReady('loading'), 'openai');
  if (options.tls !== null) {
    const { checkTls } = await import('./door/tls.js');
    checkTls(options.tls);
  }
  const listening = await listen(options, (exchange) => current(exchange));
  return {
    ...listening,
    serve(handler) {
      current = handler;
    },
  };
}

async function listen(options: PortOptions, handler: ExchangeHandler): Promise<Pick<Port, 'listener' | 'backend'>> {
  if (options.backend !== 'node') {
    const uws = loadUws();
    const unserved = unservedByUws(options);
    if (unserved !== null && options.backend === 'uws') throw unserved;
    if (unserved === null) {
      if (uws.module !== null) return { listener: await listenUws(uws.module, options, handler), backend: 'uws' };
      if (options.backend === 'uws') throw startError(`uWebSockets.js does not load: ${uws.reason}`);
      options.logger.warn(`uWebSockets.js does not load (${uws.reason}); using node:http, which costs more time for each event`);
    }
  }
  const { listenNode } = await import('./exchange-node.js');
  return { listener: await listenNode(options, handler), backend: 'node' };
}

/** What is asked for that only node:http can do; null: nothing. */
function unservedByUws({ tls, uds, sharing }: PortOptions): LockstepError | null {
  const refusal = (what: string, reason: string, param: string) =>
    startError(`${what} needs --http-backend node: uWebSockets.js ${reason}`, { param });
  if ((tls?.clientCertificates ?? 0) > 0) return refusal('--ssl-cert-reqs', 'asks clients for no certificate', 'ssl-cert-reqs');
  if (uds === null || sharing === null) return null;
  return refusal('--uds with --api-server-count', 'shares no Unix domain socket between threads', 'uds');
}
