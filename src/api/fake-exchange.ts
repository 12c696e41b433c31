/** For tests of this room: a server over a fake engine and ways to talk to it, and an exchange without a socket. */
import { DetachedExchange } from './detached-exchange.js';
import { anybody } from './door/caller.js';
import { openAiErrors } from './error-body.js';
import { FakeEngine, type FakeEngineOptions, fakeModel } from './fake-engine.js';
import type { ServedModel } from './served-model.js';
import { createServer, type HttpServer, type ServerOptions } from './server.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
export type Json = any;

export interface FakeServer {
  readonly server: HttpServer;
  readonly engine: FakeEngine;
  readonly url: string;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Status and body, as JSON. */
  ask(path: string, body: unknown): Promise<{ status: number; body: Json }>;
  /** Named events: what follows `data: `, as JSON, which holds its own type. */
  events(path: string, body: unknown): Promise<Json[]>;
  close(): Promise<void>;
}

export async function fakeServer(
  options: Partial<ServerOptions> = {},
  engineOptions: FakeEngineOptions = {},
  model: Partial<ServedModel> = {},
): Promise<FakeServer> {
  const server = await createServer({ host: '127.0.0.1', port: 0, version: '1.2.3', ...options });
  const engine = new FakeEngine(engineOptions);
  server.setModel(fakeModel(engine, model));
  const url = `http://127.0.0.1:${server.port}`;
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
  return {
    server,
    engine,
    url,
    post,
    async ask(path, body) {
      const answer = await post(path, body);
      return { status: answer.status, body: JSON.parse(await answer.text()) };
    },
    async events(path, body) {
      return namedEvents(await (await post(path, body)).text());
    },
    close: () => server.close(),
  };
}

export function namedEvents(text: string): Json[] {
  const events = text.split('\n\n').filter((event) => event !== '');
  return events.map((event) => {
    const [name, data] = event.split('\n');
    const value = JSON.parse(data!.slice('data: '.length)) as Json;
    if (name !== `event: ${value.type}`) throw new Error(`an event whose name is not its type: ${event}`);
    return value;
  });
}

/** The engine says this text and ends; ids of the fake tokenizer are bytes. */
export function saying(text: string): Pick<FakeEngineOptions, 'nextId'> {
  const bytes = Buffer.from(text);
  return { nextId: (_request, _choice, position) => bytes[position] ?? 256 };
}

/** Keeps what is written to it. */
export class FakeExchange extends DetachedExchange {
  text = '';

  constructor() {
    const origin = { method: 'POST', path: '/', query: '', caller: anybody, errors: openAiErrors, header: () => undefined };
    super(origin, (events) => {
      this.text += events;
    });
  }

  override reply(status: number, contentType: string | null, body: string | Uint8Array): void {
    if (!this.over) this.text += body;
    super.reply(status, contentType, body);
  }
}
