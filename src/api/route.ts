/** What a line of the route table says: for `server.ts`, which finds and guards it, and for /openapi.json, which describes it. */
import type { Context } from './context.js';
import type { Exchange } from './exchange.js';
import type { RequestBody } from './fields.js';
import type { Schema } from './schema.js';

export interface Route {
  readonly method: 'GET' | 'POST';
  /** Ends in `/*`: what follows is the handler's third argument. */
  readonly path: string;
  /** open: to all, as supervisors and scrapers have no key. key: asks for an API key where one is set. */
  readonly access: 'open' | 'key';
  /** Counts as work that a shutdown waits for. */
  readonly inference: boolean;
  /** What it does, in a line. */
  readonly summary: string;
  /** The table that its handler gives to `checkFields`. */
  readonly body?: RequestBody;
  readonly answer: Answer;
  readonly handle: (exchange: Exchange, context: Context, rest: string) => void | Promise<void>;
}

/** What comes with status 200. */
export interface Answer {
  /** Of the schema in /openapi.json; routes that answer alike share it. */
  readonly name: string;
  /** Of a JSON body. */
  readonly json?: Schema;
  /** Media type of a body that is not JSON; '' for none. */
  readonly media?: string;
  /** Of the events' data, where the route can stream. */
  readonly events?: Schema;
}
