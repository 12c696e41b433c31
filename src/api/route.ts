/** What a line of the route table says: for `server.ts`, which finds and guards it, and for /openapi.json, which describes it. */
import type { Context } from './context.js';
import type { ErrorFormat } from './error-body.js';
import type { Exchange } from './exchange.js';
import type { RequestBody } from './fields.js';
import type { Schema } from './schema.js';

const flags = {
  devMode: '--server-dev-mode',
  sleepMode: '--enable-sleep-mode',
  tokenizerInfo: '--enable-tokenizer-info-endpoint',
  page: '--page',
  docs: '--no-disable-fastapi-docs',
} as const;
export type Needed = keyof typeof flags;

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Ends in `/*`: what follows is the handler's third argument. */
  readonly path: string;
  /** open: to all, as supervisors and scrapers have no key. key: asks for an API key where one is set. */
  readonly access: 'open' | 'key';
  /** Counts as work that a shutdown waits for. */
  readonly inference: boolean;
  /** Flags of which one must be given. */
  readonly needs?: readonly Needed[];
  /** Its API's way to write errors; OpenAI's where none is given. */
  readonly errors?: ErrorFormat;
  /** What it does, in a line. */
  readonly summary: string;
  /** Parameters that may follow the path. */
  readonly query?: Readonly<Record<string, Schema>>;
  /** The table that its handler gives to `checkFields`. */
  readonly body?: RequestBody;
  /** In place of `body`: those of the routes of which one is meant. */
  readonly bodies?: readonly RequestBody[];
  readonly answer: Answer;
  readonly handle: (exchange: Exchange, context: Context, rest: string) => void | Promise<void>;
}

/** open: to all. key: to those with a key, where there are keys. inference: to these, and a shutdown waits for it. */
type Door = 'open' | 'key' | 'inference';

/** A row of a route table. */
export function route(
  method: Route['method'],
  path: string,
  door: Door,
  row: Omit<Route, 'method' | 'path' | 'access' | 'inference'>,
): Route {
  return { method, path, access: door === 'open' ? 'open' : 'key', inference: door === 'inference', ...row };
}

/** The rows of an API that writes errors in its own way. */
export const withErrors = (errors: ErrorFormat, rows: readonly Route[]): readonly Route[] => rows.map((row) => ({ ...row, errors }));

/** What must be given for the route to be there; null: it is there. */
export function missingFlag({ needs }: Route, options: Readonly<Record<Needed, boolean>>): string | null {
  if (needs === undefined || needs.some((name) => options[name])) return null;
  return needs.map((name) => flags[name]).join(' or ');
}

/** What comes with status 200. */
export interface Answer {
  /** Of the schema in /openapi.json; routes that answer alike share it. */
  readonly name: string;
  /** Of a JSON body. */
  readonly json?: Schema;
  /** Media type of a body that is not one JSON value; '' for none. */
  readonly media?: string;
  /** Of the events' data, where the route can stream. */
  readonly events?: Schema;
}
