/**
 * The port alone. It takes a few modules where what is behind it takes hundreds, and so listens and answers 503 while those are read; a supervisor
 * or a router finds somebody there from the first moment.
 */
import { LockstepError } from '../errors.js';
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
    // uWebSockets.js asks no client for a certificate.
    const canServe = (options.tls?.clientCertificates ?? 0) === 0;
    if (!canServe && options.backend === 'uws') {
      throw new LockstepError('start', '--ssl-cert-reqs needs --http-backend node: uWebSockets.js asks clients for no certificate', {
        param: 'ssl-cert-reqs',
      });
    }
    if (canServe) {
      if (uws.module !== null) return { listener: await listenUws(uws.module, options, handler), backend: 'uws' };
      if (options.backend === 'uws') throw new LockstepError('start', `uWebSockets.js does not load: ${uws.reason}`);
      options.logger.warn(`uWebSockets.js does not load (${uws.reason}); using node:http, which costs more time for each event`);
    }
  }
  const { listenNode } = await import('./exchange-node.js');
  return { listener: await listenNode(options, handler), backend: 'node' };
}
